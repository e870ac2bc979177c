"""What users ask of tuning: a frozen record, checked when it is made."""

from dataclasses import dataclass
from pathlib import Path

from prunus.errors import TuneError


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Search for faster ways of computing each kernel, by trial.

    Trials run on this machine where it can run the target's code, else under the target's emulator with an estimate of
    cycles. What is found is kept in a file, and later compilations use it.

    Attributes:
        minutes: how long to search; 0 takes what is known.
        records: file of what was tried, JSON lines; by default `tuning.jsonl` in the cache's folder, which every
            compilation reads. Name a file, and keep it, for builds that give the same bytes elsewhere.

    Raises:
        TuneError: a time that is negative or no number.
    """

    minutes: float = 5.0
    records: str | Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.minutes < float("inf"):
            raise TuneError(f"Tune got minutes={self.minutes!r}", expected="0 or more minutes")
