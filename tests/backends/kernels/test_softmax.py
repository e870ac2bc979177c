"""Softmax and its logarithm over any dimension of any view equal PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.kernels.expression import Accumulator, Apply, Number, Operand
from prunus.backends.kernels.softmax import SoftmaxRows
from tests.backends.kernels.harness import After, Layout, check_kernel
from tests.backends.kernels.strategies import FEW, layouts, shapes

aten = torch.ops.aten
FAMILY = SoftmaxRows()
BOTH = [aten.softmax.int, aten.log_softmax.int]
CHANNELS_LAST = Layout((0, 2, 3, 1), 1)
X = torch.randn(2, 37, 9, 11, generator=torch.Generator().manual_seed(1)) * 5


@FEW
@given(data=st.data())
def test_any_dimension_of_any_view(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))
    shape, dim = data.draw(shapes(rank)), data.draw(st.integers(0, rank - 1))
    layout, output = data.draw(layouts(rank)), data.draw(layouts(rank))
    operator = data.draw(st.sampled_from(BOTH))
    check_kernel(FAMILY, operator, (torch.randn(shape) * 4, dim), layouts={0: layout}, output_layout=output, knobs=2)


@pytest.mark.parametrize("layout", [Layout(), CHANNELS_LAST], ids=str)
@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("operator", BOTH, ids=str)
def test_every_way_in_place(operator: Any, dim: int, layout: Layout) -> None:
    check_kernel(FAMILY, operator, (X, dim), layouts={0: layout}, output_layout=layout, knobs=6, in_place=0)


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("operator", BOTH, ids=str)
def test_epilogue(operator: Any, dim: int) -> None:
    sum_of_both = Apply("add", (Accumulator(), Operand(0, "float32")), "float32")
    after = After(sum_of_both, lambda y, other: y + other, (torch.randn(37, 1, 1),))
    check_kernel(FAMILY, operator, (X, dim), after=after, output_layout=CHANNELS_LAST, knobs=6)


@pytest.mark.parametrize("dim", [0, 1])
def test_output_that_cannot_hold_exponentials(dim: int) -> None:
    percent = Apply("cast", (Apply("mul", (Accumulator(), Number(100.0, "float32")), "float32"),), "int32")
    x = torch.log(torch.tensor([[0.255, 0.745], [0.105, 0.895], [0.64, 0.36]]).repeat(1, 20))
    check_kernel(FAMILY, aten.softmax.int, (x, dim), after=After(percent, lambda y: (y * 100).int()), knobs=6)


@pytest.mark.parametrize("operator", BOTH, ids=str)
def test_masked_and_large_scores(operator: Any) -> None:
    x = X[0, :, 0].clone() * 100
    check_kernel(FAMILY, operator, (x, 1))
    x[:, 3:] = -float("inf")
    check_kernel(FAMILY, aten.softmax.int, (x, 1))


def test_memory_that_is_read_again_is_not_taken_over() -> None:
    product = Apply("mul", (Accumulator(), Operand(0, "float32")), "float32")
    after = After(product, torch.mul, (X,))
    assert check_kernel(FAMILY, aten.softmax.int, (X, 1), after=after).shares == (0,)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "rpi4", "rpi3-armhf"])
@pytest.mark.parametrize("dim", [1, 3])
def test_other_targets(target: str, dim: int) -> None:
    for operator in BOTH:
        check_kernel(FAMILY, operator, (X, dim), target=target)
