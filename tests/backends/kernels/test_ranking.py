"""Speed first, then size."""

import pytest

from prunus.backends.kernels.ranking import ranked

CYCLES = {"large tiles": 1000.0, "small tiles": 1010.0, "slow": 1200.0}
CODE = {"large tiles": 5000.0, "small tiles": 1500.0, "slow": 1000.0}


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        (2_000.0, ["small tiles", "large tiles", "slow"]),
        (2_000_000.0, ["large tiles", "small tiles", "slow"]),
    ],
)
def test_code_counts_where_weights_are_small(weights: float, order: list[str]) -> None:
    assert ranked(CYCLES, CYCLES.__getitem__, lambda knob: weights + CODE[knob]) == order
