"""Grids, and the steps of weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunus.passes.quantize.grid import asymmetric, larger_scales, limits, to_steps, weight_scales

bounds = st.floats(-1e4, 1e4, width=32)


@given(bounds, bounds)
def test_grids_hold_their_range_and_zero(first: float, second: float) -> None:
    low, high = min(first, second, 0.0), max(first, second, 0.0)
    grid = asymmetric(low, high)
    assert -128 <= grid.zero_point <= 127
    assert (-128 - grid.zero_point) * grid.scale <= low + 0.51 * grid.scale
    assert (127 - grid.zero_point) * grid.scale >= high - 0.51 * grid.scale
    assert float(torch.tensor(grid.scale, dtype=torch.float32)) == grid.scale


@pytest.mark.parametrize(
    ("bits", "expected"), [(8, (-127, 127)), (7, (-63, 63)), (5, (-15, 15)), (4, (-8, 7)), (2, (-2, 1))]
)
def test_limits(bits: int, expected: tuple[int, int]) -> None:
    assert limits(bits) == expected


@pytest.mark.parametrize("bits", [8, 7, 4, 3])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (17, 3, 3, 3)])
def test_weight_scales_are_no_worse_than_those_of_the_largest(bits: int, shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    largest = weight.abs().flatten(1).amax(1) / limits(bits)[1]

    def error(scales: torch.Tensor) -> torch.Tensor:
        steps = to_steps(weight, scales, bits).double().flatten(1)
        return (steps * scales.double()[:, None] - weight.double().flatten(1)).square().sum(1)

    assert bool((error(weight_scales(weight, bits)) <= error(largest) + 1e-12).all())


def test_a_dead_channel() -> None:
    weight = torch.zeros(2, 3)
    weight[0] = 1
    steps = to_steps(weight, weight_scales(weight, 8), 8)
    assert steps.tolist() == [[127] * 3, [0] * 3]


def test_larger_scales_where_steps_are_too_large() -> None:
    weight = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    scales = weight_scales(weight, 8)

    def suit(steps: torch.Tensor) -> torch.Tensor:
        return steps.int().abs().sum(1) <= 900

    found = larger_scales(weight, scales, 8, suit)
    was = suit(to_steps(weight, scales, 8))
    assert was.any()
    assert not was.all()
    assert torch.equal(found[was], scales[was])
    assert bool((found[~was] > scales[~was]).all())
    assert bool(suit(to_steps(weight, found, 8)).all())
    assert not bool(suit(to_steps(weight, found / 1.021, 8))[~was].any())
