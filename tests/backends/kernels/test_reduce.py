"""Reductions over any dimensions of any view equal PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.kernels.expression import Accumulator, Apply, Number, Operand
from prunus.backends.kernels.reduce import Reductions
from tests.backends.kernels.harness import After, Layout, check_kernel
from tests.backends.kernels.strategies import FEW, layouts, shapes

aten = torch.ops.aten
FAMILY = Reductions()
CHANNELS_LAST = Layout((0, 2, 3, 1))
# Without negative numbers sums do not cancel, so that errors stay small beside them.
POSITIVE = torch.rand(2, 37, 9, 11, generator=torch.Generator().manual_seed(1)) + 0.5


def cut_off_at_one(dtype: str, x: str) -> Apply:
    """min(acc * operand, 1)"""
    product = Apply("mul", (Accumulator(dtype), Operand(0, x)), dtype)
    return Apply("min", (product, Number(1.0, dtype)), dtype)


@pytest.mark.parametrize("layout", [Layout(), CHANNELS_LAST, Layout((3, 1, 0, 2), 1)], ids=str)
@pytest.mark.parametrize(
    "operator", [aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default], ids=str
)
def test_reductions_with_an_epilogue(operator: Any, layout: Layout) -> None:
    scale = torch.rand(37, 1, 1)
    after = After(cut_off_at_one("float32", "float32"), lambda y, s: (y * s).clamp(max=1), (scale,))
    check_kernel(FAMILY, operator, (POSITIVE, [2, 3], True), layouts={0: layout}, after=after, knobs=3)


@FEW
@given(data=st.data())
def test_any_dimensions_of_any_view(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))
    shape = data.draw(shapes(rank))
    dims = sorted(data.draw(st.sets(st.integers(0, rank - 1), min_size=1)))
    keepdim = data.draw(st.booleans())
    operator = data.draw(st.sampled_from([aten.sum.dim_IntList, aten.mean.dim, aten.amax.default]))
    x = torch.rand(shape) + 0.5
    kept = rank if keepdim else rank - len(dims)
    layout, output = data.draw(layouts(rank)), data.draw(layouts(kept))
    check_kernel(FAMILY, operator, (x, dims, keepdim), layouts={0: layout}, output_layout=output)


@FEW
@given(data=st.data())
def test_place_of_the_first_extreme(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    shape, dim = data.draw(shapes(rank)), data.draw(st.integers(0, rank - 1))
    dtype = data.draw(st.sampled_from([torch.float32, torch.int64]))
    operator = data.draw(st.sampled_from([aten.argmax.default, aten.argmin.default]))
    x = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(rank)).to(dtype)
    check_kernel(FAMILY, operator, (x, dim, data.draw(st.booleans())), layouts={0: data.draw(layouts(rank))})


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32], ids=str)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_products_and_integers(dtype: torch.dtype, dim: int) -> None:
    x = torch.randint(-2, 3, (3, 5, 19)).to(dtype)
    check_kernel(FAMILY, aten.amin.default, (x, [dim], False), knobs=3)
    if dtype != torch.int32:
        check_kernel(FAMILY, aten.sum.dim_IntList, (x, [dim], True))
        check_kernel(FAMILY, aten.prod.dim_int, (x, dim, False), layouts={0: Layout((2, 0, 1))})


@pytest.mark.parametrize("x", [[-float("inf")] * 5, [1.0, float("inf"), float("inf"), -float("inf"), 0.0]], ids=str)
def test_infinities(x: list[float]) -> None:
    check_kernel(FAMILY, aten.argmax.default, (torch.tensor([x] * 3), 1, False))
    check_kernel(FAMILY, aten.amin.default, (torch.tensor([x] * 3), [1], False))


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "rpi4", "rpi3-armhf"])
@pytest.mark.parametrize("layout", [Layout(), CHANNELS_LAST], ids=str)
def test_other_targets(target: str, layout: Layout) -> None:
    check_kernel(FAMILY, aten.mean.dim, (POSITIVE, [2, 3], True), layouts={0: layout}, target=target)
    check_kernel(FAMILY, aten.argmax.default, (POSITIVE, 1, False), layouts={0: layout}, target=target)
