"""What calibration keeps of a value: extremes first, then a histogram between them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from prunus.errors import QuantizeError

BINS = 2048
MOMENTUM = 0.9


@dataclass
class Statistics:
    """Numbers about one value, batch by batch.

    Attributes:
        name: node that computes it, for messages.
        low, high: the extremes of all batches.
        moving_low, moving_high: the extremes of a batch, averaged with momentum 0.9.
        counts: (2048,) float64, how often numbers fell into each of the equal bins from `low` to `high`.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    moving_low: float = 0.0
    moving_high: float = 0.0
    batches: int = 0
    counts: Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.float64))

    def extend(self, batch: Tensor) -> None:
        """Take in the extremes of a batch.

        Raises:
            QuantizeError: NaN or infinite numbers.
        """
        low, high = (float(bound) for bound in torch.aminmax(batch))
        if not torch.isfinite(torch.tensor(high - low)):
            raise QuantizeError(
                f"node {self.name!r} computes {'NaN' if high != high else 'infinite numbers'} on the calibration data",
                expected="finite activations", do="look for bad samples, or keep the layers before it: keep=[...]",
            )  # fmt: skip
        if not self.batches:
            self.low, self.high, self.moving_low, self.moving_high = low, high, low, high
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.moving_low += (1 - MOMENTUM) * (low - self.moving_low)
        self.moving_high += (1 - MOMENTUM) * (high - self.moving_high)
        self.batches += 1

    def count(self, batch: Tensor) -> None:
        """Add a batch to the histogram; all batches must have been through `extend`."""
        if self.high > self.low:
            self.counts += torch.histc(batch.detach().double(), BINS, self.low, self.high)
        else:
            self.counts[-1] += batch.numel()

    @property
    def centres(self) -> Tensor:
        """Middle of each bin, (2048,) float64."""
        width = (self.high - self.low) / BINS
        return self.low + width * (torch.arange(BINS, dtype=torch.float64) + 0.5)


def joined(name: str, parts: list[Statistics]) -> Statistics:
    """Return the statistics of several values that share one grid, as if they were one."""
    whole = Statistics(
        name,
        low=min(part.low for part in parts),
        high=max(part.high for part in parts),
        moving_low=min(part.moving_low for part in parts),
        moving_high=max(part.moving_high for part in parts),
        batches=max(part.batches for part in parts),
    )
    for part in parts:
        if whole.high > whole.low:
            place = ((part.centres - whole.low) / (whole.high - whole.low) * BINS).long().clamp(0, BINS - 1)
            whole.counts.index_add_(0, place, part.counts)
        else:
            whole.counts += part.counts
    return whole
