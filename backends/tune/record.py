"""One line of a file of records: what became of one way of computing one kernel."""

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_FORMAT = 1


class Verdict(StrEnum):
    """How a trial ended."""

    FASTER = "faster"  # than the best so far, beyond noise, with the right results
    SLOWER = "slower"  # or as fast
    WRONG = "wrong"  # other results than the first guess
    CORRUPTING = "corrupting"  # wrote or read beside its arguments
    CRASHED = "crashed"
    HUNG = "hung"
    UNCOMPILABLE = "uncompilable"
    WITHDRAWN = "withdrawn"  # faster alone, not in its network


class Source(StrEnum):
    """Where the numbers of a record come from."""

    MEASURED = "measured"  # nanoseconds of a processor
    ESTIMATED = "estimated"  # cycles of an emulator and a model


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of one way of computing one kernel.

    Attributes:
        spec: hash of family, problem and epilogue (`versions.spec_key`).
        target: hash of what kernels depend on of the target; `target_name` is for readers.
        template: hash of the sources that wrote the kernel.
        tvm: version of TVM.
        family, layer: for readers: the family, and what the kernel computes.
        knob: the fields of the knob, by name.
        verdict: how the trial ended; a later line on the same knob counts.
        gain: time of the first guess divided by that of this knob; 0 where there is none.
        source: whether times were measured, or are estimates.
        machine: processor that the trial ran on.
    """

    spec: str
    target: str
    template: str
    tvm: str
    target_name: str
    family: str
    layer: str
    knob: dict[str, Any]
    verdict: Verdict
    gain: float
    source: Source
    machine: str

    def to_line(self) -> bytes:
        """Return the line for the file, with its end."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Record":
        """Read a line.

        Raises:
            ValueError: it is no record; the message says why.
        """
        try:
            table = json.loads(line)
            if table.pop("format") != _FORMAT:
                raise ValueError("another format")
            record = cls(**{**table, "verdict": Verdict(table["verdict"]), "source": Source(table["source"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error) or type(error).__name__) from error
        texts = (record.spec, record.target, record.template, record.tvm)
        if not (all(isinstance(text, str) for text in texts) and isinstance(record.knob, dict)):
            raise ValueError("a field has another type")
        if not isinstance(record.gain, int | float):
            raise ValueError("a field has another type")
        return record


def knob_fields(knob: Any) -> dict[str, Any]:
    """Return a knob as a record keeps it."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(knob)))
    return fields
