"""Element-wise chains over tensors of any layout, and copies between layouts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.backends.kernels.expression import Apply, Operand
from prunus.passes.graph import aten
from tests.backends.kernels.chains import check_expression, check_operator
from tests.backends.kernels.harness import Layout


def numbers(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 64, 129, 1000])
@pytest.mark.parametrize("target", ["native", "x86-64-v2"])
def test_any_length(count: int, target: str) -> None:
    check_operator(aten.mul.Tensor, numbers(count), numbers(count, seed=1), knobs=4, target=target)


@pytest.mark.parametrize("shape", [(1, 37, 1, 1), (37, 1, 1), (9,), (2, 1, 5, 9), (1,)], ids=str)
def test_broadcasting(shape: tuple[int, ...]) -> None:
    check_operator(aten.add.Tensor, numbers(2, 37, 5, 9), numbers(*shape, seed=1))


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 2, 3)], ids=str)
@pytest.mark.parametrize("margin", [0, 2])
def test_copies_between_layouts(order: tuple[int, ...], margin: int) -> None:
    x = numbers(2, 7, 5, 9)
    for layouts in ([Layout(order, margin), Layout()], [Layout(), Layout(order, margin)]):
        check_expression(Operand(0, "float32"), x, x, layouts=layouts[:1], output_layout=layouts[1], tolerance=0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_any_two_layouts(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    layouts = [
        Layout(tuple(data.draw(st.permutations(range(len(sizes))))), data.draw(st.integers(0, 1))) for _ in range(3)
    ]
    x, y = numbers(*sizes), numbers(*sizes, seed=1)
    check_operator(aten.sub.Tensor, x, y, layouts=layouts[:2], output_layout=layouts[2])


@pytest.mark.parametrize("position", [0, 1])
def test_in_place(position: int) -> None:
    check_operator(aten.add.Tensor, numbers(5, 33), numbers(5, 33, seed=1), in_place=position)


@pytest.mark.parametrize("target", ["native", "rpi4", "rpi3-armhf"])
def test_a_chain_reads_each_operand_once(target: str) -> None:
    x, y = numbers(3, 41), numbers(3, 41, seed=1)
    first = Operand(0, "float32")
    gate = Apply("mul", (first, Apply("sigmoid", (first,), "float32")), "float32")
    chain = Apply("max", (Apply("add", (gate, Operand(1, "float32")), "float32"), gate), "float32")
    silu = torch.nn.functional.silu(x)
    check_expression(chain, torch.maximum(silu + y, silu), x, y, target=target)


def test_truth_values_are_bytes() -> None:
    x, y = numbers(4, 19), numbers(4, 19, seed=1)
    check_operator(aten.where.self, x > 0, x, y)
    check_operator(aten.gt.Tensor, x, y)
