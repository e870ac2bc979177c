"""What tuning found."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from prunus.backends.tune.record import Source, Verdict


@dataclass(frozen=True)
class TunedKernel:
    """One kernel.

    Attributes:
        family, layer: what it is.
        uses: steps of the network that it serves.
        cost: of one call with the best knob that was known before, in nanoseconds (measured) or cycles (estimated).
        share: its part of the network's cost then.
        knobs: legal ways of computing it.
        tried: those that this run tried.
        gain: cost of the first guess divided by that of the best knob now; 1 for the first guess itself.
        knob: the fields of the best knob.
    """

    family: str
    layer: str
    uses: int
    cost: float
    share: float
    knobs: int
    tried: int
    gain: float
    knob: Mapping[str, Any]


@dataclass(frozen=True)
class TuningReport:
    """What one run of the tuner did.

    Attributes:
        target: name of the target.
        source: whether costs are measured or estimated.
        seconds: how long it took.
        stopped: Ctrl-C ended it early.
        kernels: what was tuned, the costliest first.
        verdicts: how many trials ended how.
        together: time of the network before this run divided by that after it, both measured in turns; None where it
            was not measured.
        remarks: records that could not be used, kernels that could not be tried.
    """

    target: str
    source: Source
    seconds: float
    stopped: bool
    kernels: tuple[TunedKernel, ...]
    verdicts: Mapping[Verdict, int] = field(default_factory=Counter)
    together: float | None = None
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON knows."""
        return {**asdict(self), "verdicts": {verdict.value: count for verdict, count in self.verdicts.items()}}
