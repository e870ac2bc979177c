"""The file of records: read once, appended a line at a time, safe for several tuners at once."""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.kernels.family import Family, Match
from prunus.backends.plan.knobs import Choice, first_guess
from prunus.backends.tune.record import Record, Source, Verdict, knob_fields
from prunus.backends.tune.versions import spec_key, target_key, template_version, tvm_version
from prunus.errors import OutputError
from prunus.targets import Target


def default_path() -> Path:
    """Return the file that every compilation reads: `tuning.jsonl` in the cache's folder."""
    return cache_dir() / "tuning.jsonl"


class Records:
    """What trials have shown; called by the planner, it chooses knobs.

    Args:
        path: file of records; a missing one is empty.

    Attributes:
        remarks: what was found in the file, or asked of it, that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._of_kernel: dict[tuple[str, str], list[Record]] = {}
        self._broken: list[str] = []
        self._stale: dict[str, set[bytes]] = {}
        self._read()

    def __call__(self, family: Family, match: Match, target: Target) -> Choice:
        """Return the fastest knob that trials have shown, the first guess where there is none."""
        best = self.best(family, match.problem, target)
        return first_guess(family, match, target) if best is None else Choice(best[0], best[1].source.value)

    @property
    def remarks(self) -> tuple[str, ...]:
        stale = [f"{len(lines)} records {why}: tune again" for why, lines in sorted(self._stale.items())]
        return (*self._broken, *stale)

    def best(self, family: Family, problem: Any, target: Target) -> tuple[Any, Record] | None:
        """Return the fastest knob of a kernel and its record; what was measured comes before what was estimated."""
        last = {repr(record.knob): record for record in self.of(family, problem, target)}
        won = [record for record in last.values() if record.verdict == Verdict.FASTER and record.gain > 1]
        won.sort(key=lambda record: (record.source == Source.MEASURED, record.gain, repr(record.knob)), reverse=True)
        legal = family.knobs(problem, target) if won else ()
        for record in won:
            for knob in legal:
                if knob_fields(knob) == record.knob:
                    return knob, record
            self._remark(record, "have knobs that their family does not offer")
        return None

    def of(self, family: Family, problem: Any, target: Target) -> list[Record]:
        """Return the records of a kernel that still fit, in the order of the file."""
        found = self._of_kernel.get((spec_key(family, problem), target_key(target)), [])
        fitting = []
        for record in found:
            if record.template != template_version(family):
                self._remark(record, "are of another version of their kernels")
            elif record.tvm != tvm_version():
                self._remark(record, "are of another version of TVM")
            else:
                fitting.append(record)
        return fitting

    def append(self, record: Record) -> None:
        """Add a record, in memory and in the file: whole, or not at all.

        Raises:
            OutputError: the file cannot be written; it is as it was.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _append(descriptor, record.to_line())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OutputError(
                f"cannot write the tuning records {self.path}: {error.strerror or error}",
                do="free space, or name another file: Tune(records=...)",
            ) from error
        self._keep([record])

    def _remark(self, record: Record, why: str) -> None:
        self._stale.setdefault(why, set()).add(record.to_line())

    def _read(self) -> None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(
                f"cannot read the tuning records {self.path}: {error.strerror or error}",
                do="name another file: Tune(records=...)",
            ) from error
        for number, line in enumerate(data.splitlines(), 1):
            try:
                self._keep([Record.from_line(line)] if line.strip() else [])
            except ValueError as error:
                self._broken.append(f"{self.path}, line {number} is no record ({error})")

    def _keep(self, records: Iterable[Record]) -> None:
        for record in records:
            self._of_kernel.setdefault((record.spec, record.target), []).append(record)


def _append(descriptor: int, line: bytes) -> None:
    """Write a line at the end of a locked file; behind a line that a crash has cut short, start a new one."""
    size = os.fstat(descriptor).st_size
    cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    data = b"\n" + line if cut else line
    try:
        written = os.write(descriptor, data)
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(descriptor, size)
        raise
