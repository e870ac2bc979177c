"""What counts as faster."""

import numpy as np
import pytest

from prunus.backends.tune.noise import gain, is_faster


def rounds(ratio: float, *, count: int, noise: float, seed: int = 0) -> list[tuple[float, float]]:
    """Return times of two kernels, the first `ratio` times as fast, in noise that both share and that they do not."""
    generator = np.random.default_rng(seed)
    machine = generator.uniform(1, 3, count)
    own, other = (1 + noise * generator.standard_exponential((2, count))) * machine
    return list(zip((own / ratio).tolist(), other.tolist(), strict=True))


def test_gain_is_the_ratio_whatever_the_machine_does() -> None:
    assert gain(rounds(1.25, count=50, noise=0.0)) == pytest.approx(1.25)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_clear_gains_are_seen(noise: float) -> None:
    assert all(is_faster(rounds(1.3, count=20, noise=noise, seed=seed)) for seed in range(50))


def test_twins_are_hardly_ever_told_apart() -> None:
    """Each trial passes two such tests; one chance in a hundred each is one in ten thousand."""
    assert sum(is_faster(rounds(1.0, count=20, noise=0.1, seed=seed)) for seed in range(500)) <= 10


def test_small_gains_do_not_count() -> None:
    assert not is_faster(rounds(1.01, count=100, noise=0.0))


def test_few_rounds_prove_nothing() -> None:
    assert not is_faster(rounds(1.5, count=4, noise=0.0))
