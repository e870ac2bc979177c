"""Observers on distributions whose answers are known, and the statistics that they read."""

import math

import pytest
import torch

from prunus.errors import QuantizeError
from prunus.passes.quantize.grid import asymmetric
from prunus.passes.quantize.observers import OBSERVERS, Observer, entropy, lp, min_max, moving_average, mse, quantile
from prunus.passes.quantize.statistics import BINS, Statistics, joined


def seen(*batches: torch.Tensor) -> Statistics:
    statistics = Statistics("x")
    for batch in batches:
        statistics.extend(batch)
    for batch in batches:
        statistics.count(batch)
    return statistics


def test_min_max() -> None:
    found = min_max(seen(torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 7.0])))
    assert (found.low, found.high) == (-1.0, 7.0)


def test_moving_average() -> None:
    batches = [torch.tensor([-1.0, 1.0]), torch.tensor([-2.0, 3.0]), torch.tensor([0.0, 1.0])]
    low, high = -1.0, 1.0
    for batch in batches[1:]:
        low, high = 0.9 * low + 0.1 * float(batch.min()), 0.9 * high + 0.1 * float(batch.max())
    found = moving_average(seen(*batches))
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_quantile_leaves_out_outliers() -> None:
    values = torch.cat([torch.linspace(0, 1, 99_990), torch.full((10,), 2.0)])
    found = quantile(seen(values), share=0.9995)
    assert found.low == pytest.approx(0.0005, abs=2 / BINS)
    assert found.high == pytest.approx(torch.quantile(values, 0.9995), abs=2 * 2 / BINS)


def test_quantile_keeps_the_zeros_of_relu() -> None:
    values = torch.relu(torch.randn(10_000, generator=torch.Generator().manual_seed(0)))
    assert quantile(seen(values)).low == 0


@pytest.mark.parametrize(("observer", "power"), [(mse, 2), (lp, 3)])
@pytest.mark.parametrize("tail", [0.0, 8.0, 50.0])
def test_least_error_is_the_best_of_a_dense_search(observer: Observer, power: int, tail: float) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.cat([torch.randn(20_000, generator=generator), torch.full((3,), tail)])

    def error(low: float, high: float) -> float:
        grid = asymmetric(low, high)
        steps = (torch.round(values / grid.scale) + grid.zero_point).clamp(-128, 127)
        return float(((steps - grid.zero_point) * grid.scale - values).abs().pow(power).sum())

    found = observer(seen(values))
    low, high = float(values.min()), float(values.max())
    shares = torch.linspace(0.2, 1, 41).tolist()
    best = min(error(low * below, high * above) for below in shares for above in shares)
    assert error(found.low, found.high) <= 1.1 * best


def test_clipping_weighs_more_in_cubes_than_in_squares() -> None:
    generator = torch.Generator().manual_seed(3)
    values = seen(torch.cat([torch.randn(20_000, generator=generator), torch.full((3,), 12.0)]))
    assert mse(values).high < lp(values).high <= 12.0


def test_entropy_keeps_what_is_even_and_cuts_a_far_tail() -> None:
    even = entropy(seen(torch.linspace(-1, 1, 200_000)))
    assert even.low == pytest.approx(-1)
    assert even.high == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    tailed = entropy(seen(torch.cat([torch.rand(200_000, generator=generator), torch.tensor([4.0])])))
    assert 0.9 <= tailed.high < 3


def test_entropy_does_not_mind_many_zeros() -> None:
    values = torch.randn(400_000, generator=torch.Generator().manual_seed(0)).relu()
    assert entropy(seen(values)).high > 0.9 * float(values.max())


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("constant", [0.0, 3.0, -2.0])
def test_constant_values_have_a_grid(name: str, constant: float) -> None:
    found = OBSERVERS[name](seen(torch.full((5,), constant)))
    grid = asymmetric(found.low, found.high)
    steps = max(-128, min(127, round(constant / grid.scale) + grid.zero_point))
    assert (steps - grid.zero_point) * grid.scale == pytest.approx(constant, rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_an_error(bad: float) -> None:
    with pytest.raises(QuantizeError, match="node 'x' computes"):
        seen(torch.tensor([1.0, bad]))


def test_joined_statistics_are_those_of_all_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(1000, generator=generator), 3 * torch.rand(500, generator=generator)
    both, together = joined("x", [seen(first), seen(second)]), seen(torch.cat([first, second]))
    assert (both.low, both.high) == (together.low, together.high)
    assert float(both.counts.sum()) == 1500
    assert float((both.counts.cumsum(0) - together.counts.cumsum(0)).abs().max()) < 15
