"""Views of buffers, and operators that only look at memory."""

import pytest
import torch
from torch.fx import Graph

from prunus.backends.plan.layout import contiguous
from prunus.backends.plan.program import Buffer, Storage, View
from prunus.backends.plan.views import broadcast, covers, dense, is_dense, look, order_of, part
from prunus.passes.graph import aten

BUFFER = Buffer("x", Storage.ARENA, "float32", 2 * 3 * 4 * 5)
LAST = dense(BUFFER, (2, 3, 4, 5), (0, 2, 3, 1))


def test_dense_orders() -> None:
    assert LAST.strides == (60, 1, 15, 3)
    assert order_of(LAST) == (0, 2, 3, 1)
    assert covers(LAST)
    assert not is_dense(LAST)
    assert is_dense(dense(BUFFER, (2, 3, 4, 5)))


def test_strides_of_single_elements_do_not_count() -> None:
    assert is_dense(View(BUFFER, 0, (1, 3, 1), (77, 1, 5)))


def test_parts() -> None:
    half = part(LAST, 1, 1, 2)
    assert (half.offset, half.shape, half.strides) == (1, (2, 2, 4, 5), LAST.strides)
    assert not covers(half)


def test_broadcast() -> None:
    assert broadcast(View(BUFFER, 7, (3, 1), (1, 9)), (2, 3, 5)) == View(BUFFER, 7, (2, 3, 5), (0, 1, 0))


CALLS = [
    (aten.permute.default, [0, 2, 3, 1]),
    (aten.slice.Tensor, 2, 1, 4, 2),
    (aten.select.int, 1, 2),
    (aten.expand.default, [2, 3, 4, 5]),
    (aten.reshape.default, [2, 3, 4, 5, 1]),
    (aten.reshape.default, [2, 3, 20]),
]


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("order", [None, (0, 2, 3, 1)], ids=["NCHW", "NHWC"])
def test_operators_that_look(call: tuple[object, ...], order: tuple[int, ...] | None) -> None:
    operator, *arguments = call
    graph = Graph()
    node = graph.call_function(operator, (graph.placeholder("x"), *arguments))  # type: ignore[arg-type]
    found = look(node, dense(BUFFER, (2, 3, 4, 5), order))
    memory = torch.arange(BUFFER.size)
    tensor = memory.as_strided((2, 3, 4, 5), contiguous((2, 3, 4, 5), order))
    expected = operator(tensor, *arguments)  # type: ignore[operator]
    assert found is not None
    assert torch.equal(memory.as_strided(found.shape, found.strides, found.offset), expected)


def test_no_view_of_scattered_elements() -> None:
    graph = Graph()
    node = graph.call_function(aten.reshape.default, (graph.placeholder("x"), [2, 60]))
    assert look(node, LAST) is None
