"""What users ask of compression: frozen records, checked when they are made."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from prunus.errors import LowRankError, PruneError, QuantizeError, did_you_mean

BUDGETS = ("ratio", "macs", "parameters", "bytes", "latency", "latency_ms")
METHODS = ("svd", "spatial_svd", "tucker2", "embedding")
OBSERVERS = ("min_max", "moving_average", "quantile", "lp", "mse", "entropy")


@dataclass(frozen=True, kw_only=True)
class Prune:
    """Structured pruning: whole channels, heads and hidden units go until one budget holds.

    Attributes:
        ratio: share of the layers' channels that stays, more than 0 and at most 1, as for the other shares.
        macs: share of the multiplications with additions.
        parameters: share of the numbers that the graph holds.
        bytes: share of their bytes.
        latency: share of the time on the target.
        latency_ms: time on the target in milliseconds.
        importance: "taylor", "l1", "l2", "batch_norm", "geometric_median", "activation", "random", or a function of a
            `Scene` and a `Group` (`passes/prune`) that returns one number for each unit of the group.
        keep: patterns of layers that keep their channels, "head.*", by names of parameters or of nodes.
        steps: how often importance is measured anew on the way to the budget.
        multiple_of: cut whole multiples of so many channels, so that widths suit vectors.
        floor: the least share of each group's channels that stays.
        loss: for "taylor": takes the outputs and the number of the calibration batch and returns a scalar; by default
            the outputs along a random direction, which needs no labels: what matters is what changes the outputs.
        seed: of "random".

    Raises:
        PruneError: no budget, several, or a number out of range.
    """

    ratio: float | None = None
    macs: float | None = None
    parameters: float | None = None
    bytes: float | None = None
    latency: float | None = None
    latency_ms: float | None = None
    importance: str | Callable[[Any, Any], Sequence[float]] = "taylor"
    keep: Sequence[str] = ()
    steps: int = 5
    multiple_of: int = 1
    floor: float = 0.1
    loss: Callable[[Sequence[Any], int], Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise PruneError(
                f"Prune got the budgets {', '.join(given)}" if given else "Prune got no budget",
                expected=f"one of {', '.join(BUDGETS)}", do="write Prune(macs=0.5) to keep half of the multiplications",
            )  # fmt: skip
        if isinstance(self.keep, str):
            raise PruneError(f"keep={self.keep!r} is one string", expected="a list", do=f"write keep=[{self.keep!r}]")
        most = inf if self.budget == "latency_ms" else 1
        checks: dict[str, tuple[bool, str]] = {
            self.budget: (0 < self.amount <= most, f"a number above 0 and at most {most:g}"),
            "steps": (self.steps >= 1, "1 or more"),
            "multiple_of": (self.multiple_of >= 1, "1 or more"),
            "floor": (0 <= self.floor < 1, "a share, at least 0 and less than 1"),
        }
        for name, (holds, expected) in checks.items():
            if not holds:
                raise PruneError(f"Prune got {name}={getattr(self, name)!r}", expected=expected)

    @property
    def budget(self) -> str:
        """Name of the budget that was given."""
        return next(name for name in BUDGETS if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """The budget: a share, or milliseconds."""
        return float(getattr(self, self.budget))


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """Low rank: weights become products of smaller ones where that saves time or bytes.

    Attributes:
        max_error: share of the variance of each layer's outputs that may be lost, 0.02 where no `bytes` are given.
        bytes: instead, the share of the graph's bytes that stays: errors rise together until it is reached.
        max_total_error: share of the variance of the graph's outputs that may be lost before any training; measured on
            calibration inputs, and errors are halved until it holds.
        save: "time" takes what is estimated to be faster on the target, "bytes" what is smaller, though it may be
            slower.
        least_saving: share of a layer's time or bytes that factors must save, or the layer stays.
        methods: "svd" for linear layers, recurrent layers and convolutions, "spatial_svd" and "tucker2" for
            convolutions, "embedding" for tables.
        multiple_of: ranks are multiples of this; by default of the lanes of the target's vectors, at most 8.
        keep: patterns of layers that stay as they are, "head.*", by names of parameters or of nodes.

    Raises:
        LowRankError: both budgets, an unknown name or a number out of range.
    """

    max_error: float | None = None
    bytes: float | None = None
    max_total_error: float | None = None
    save: str = "time"
    least_saving: float = 0.05
    methods: Sequence[str] = METHODS
    multiple_of: int | None = None
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.max_error is not None and self.bytes is not None:
            raise LowRankError("LowRank got both max_error= and bytes=", expected="one of them")
        if self.save not in ("time", "bytes"):
            raise LowRankError(f"LowRank got save={self.save!r}", do=did_you_mean(self.save, ("time", "bytes")))
        for name in ("methods", "keep"):
            if isinstance(getattr(self, name), str):
                raise LowRankError(
                    f"{name}={getattr(self, name)!r} is one string", expected="a list",
                    do=f"write {name}=[{getattr(self, name)!r}]",
                )  # fmt: skip
        for method in self.methods:
            if method not in METHODS:
                raise LowRankError(f"LowRank got the method {method!r}", do=did_you_mean(method, METHODS))
        checks: dict[str, tuple[bool, str]] = {
            "max_error": (self.max_error is None or 0 <= self.max_error < 1, "a share, at least 0 and less than 1"),
            "bytes": (self.bytes is None or 0 < self.bytes <= 1, "a share, more than 0 and at most 1"),
            "max_total_error": (self.max_total_error is None or self.max_total_error > 0, "a number above 0"),
            "least_saving": (0 <= self.least_saving < 1, "a share, at least 0 and less than 1"),
            "multiple_of": (self.multiple_of is None or self.multiple_of >= 1, "1 or more"),
        }
        for name, (holds, expected) in checks.items():
            if not holds:
                raise LowRankError(f"LowRank got {name}={getattr(self, name)!r}", expected=expected)


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """Static int8: convolutions and linear layers, and what stands between them, compute in integers.

    Attributes:
        calibration: batches of inputs, each a tensor or array, or a tuple of one for each input, with the samples along
            dimension 0. A few hundred samples like those that the model will see; no labels.
        observer: how the range of an activation follows from the samples: "min_max", "moving_average", "quantile",
            "lp" (least error of rounding and clipping, cubed), "mse", "entropy".
        training: None quantises the model as it is; "lsq" rounds while it is trained, with learned steps.
        bits: of weights, 2 to 8; up to 4 they are stored two a byte. With training 7 of 8 on x86 without VNNI, where
            products are added up in 16 bits.
        keep: patterns of layers that stay in float32, "head.*", by names of parameters or of nodes.
        correct_bias: without training, take back what rounding adds to the mean of each channel.
        equalize: first even out the ranges of channels between layers.
        embeddings: store tables of embeddings that feed float32 layers as int8 rows.
        where: "faster" leaves layers in float32 where that is faster on the target, conversions included; "everywhere".

    Raises:
        QuantizeError: an unknown name or a number out of range.
    """

    calibration: Iterable[Any]
    observer: str = "lp"
    training: str | None = None
    bits: int = 8
    keep: Sequence[str] = ()
    correct_bias: bool = True
    equalize: bool = False
    embeddings: bool = True
    where: str = "faster"

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise QuantizeError(f"Quantize got observer={self.observer!r}", do=did_you_mean(self.observer, OBSERVERS))
        if self.training not in (None, "lsq"):
            raise QuantizeError(f"Quantize got training={self.training!r}", expected='None or "lsq"')
        if self.where not in ("faster", "everywhere"):
            raise QuantizeError(f"Quantize got where={self.where!r}", expected='"faster" or "everywhere"')
        if self.bits not in range(2, 9):
            raise QuantizeError(f"Quantize got bits={self.bits!r}", expected="a whole number from 2 to 8")
        if isinstance(self.keep, str):
            raise QuantizeError(
                f"keep={self.keep!r} is one string", expected="a list", do=f"write keep=[{self.keep!r}]"
            )
