"""Matrix products of all kinds on odd shapes, any memory, every processor."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.backends.kernels.expression import Accumulator, Apply, Operand
from prunus.backends.kernels.matmul import MatrixProduct
from prunus.passes.graph import aten
from tests.backends.kernels.harness import After, Layout, check_kernel

FAMILY = MatrixProduct()


def numbers(*size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(sum(size)))


LINEAR = {
    "one row": (numbers(1, 37), numbers(10, 37), numbers(10)),
    "one row, wide": (numbers(1, 13), numbers(300, 13), None),
    "rows": (numbers(23, 17), numbers(37, 17), numbers(37)),
    "tokens": (numbers(2, 5, 24), numbers(72, 24), numbers(72)),
    "one column": (numbers(9, 8), numbers(1, 8), numbers(1)),
    "one number inside": (numbers(4, 1), numbers(5, 1), None),
}


@pytest.mark.parametrize("arguments", LINEAR.values(), ids=LINEAR)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_linear(arguments: tuple[torch.Tensor | None, ...], target: str) -> None:
    constants = [1, 2] if arguments[2] is not None else [1]
    check_kernel(FAMILY, aten.linear.default, arguments, constants=constants, target=target)


@pytest.mark.parametrize("target", ["x86-64-v2", "rpi4", "rpi3-armhf"])
def test_other_processors(target: str) -> None:
    check_kernel(FAMILY, aten.linear.default, LINEAR["rows"], constants=(1, 2), target=target)
    check_kernel(FAMILY, aten.matmul.default, (numbers(3, 7, 5), numbers(3, 5, 9)), target=target)


def test_rows_of_a_wide_matrix_are_cut() -> None:
    """More weights than the second cache holds, in fewer blocks of columns than share out."""
    check_kernel(
        FAMILY,
        aten.linear.default,
        (numbers(28, 900), numbers(330, 900), None),
        constants=[1],
        target="x86-64-v3",
        knobs=8,
    )


def test_every_way_of_computing() -> None:
    check_kernel(
        FAMILY, aten.linear.default, (numbers(29, 11), numbers(70, 11), numbers(70)), constants=(1, 2), knobs=15
    )


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.tuples(*[st.integers(1, 20)] * 3), st.lists(st.integers(1, 3), max_size=2), st.booleans(), st.booleans())
def test_two_activations(sizes: tuple[int, int, int], batch: list[int], repeated: bool, inside: bool) -> None:
    rows, inner, columns = sizes
    left = numbers(*batch, rows, inner)
    right = numbers(*([1] * len(batch) if repeated else batch), inner, columns)
    layout = Layout(margin=1) if inside else Layout()
    check_kernel(FAMILY, aten.matmul.default, (left, right), layouts={0: layout, 1: layout}, output_layout=layout)


def test_left_in_other_orders() -> None:
    layouts = {0: Layout((0, 2, 1))}
    check_kernel(FAMILY, aten.matmul.default, (numbers(2, 6, 5), numbers(2, 5, 9)), layouts=layouts)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [Layout(), Layout((0, 2, 3, 1)), Layout((0, 2, 3, 1), margin=1)], ids=str)
def test_pointwise_convolution(stride: int, layout: Layout) -> None:
    arguments = (numbers(2, 7, 5, 9), numbers(37, 7, 1, 1), numbers(37), [stride] * 2, [0, 0], [1, 1], 1)
    check_kernel(
        FAMILY,
        aten.conv2d.default,
        arguments,
        constants=(1, 2),
        layouts={0: layout},
        output_layout=Layout((0, 2, 3, 1)),
    )


@pytest.mark.parametrize("in_place", [None, 0], ids=["apart", "in place"])
def test_residual(in_place: int | None) -> None:
    after = After(Apply("add", (Accumulator(), Operand(0, "float32")), "float32"), torch.add, (numbers(2, 5, 72),))
    check_kernel(FAMILY, aten.linear.default, LINEAR["tokens"], constants=(1, 2), after=after, in_place=in_place)


def test_refuses_integers() -> None:
    left, right = torch.ones(2, 3, dtype=torch.int64), torch.ones(3, 4, dtype=torch.int64)
    with pytest.raises(AssertionError, match="it multiplies float32, not int64"):
        check_kernel(FAMILY, aten.matmul.default, (left, right))
