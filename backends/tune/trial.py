"""Trials: a kernel in a process of its own, `runtime/trial.c`, behind the target's emulator where it is foreign.

The process maps every argument between guard pages, so that reading or writing beside it ends the process; what a
kernel does to memory, it does there. Nothing of Python is in it: it starts in milliseconds.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prunus.backends.codegen.runtime import trial
from prunus.backends.codegen.toolchain import zig_target
from prunus.backends.tune.record import Verdict
from prunus.errors import BuildError, OutputError
from prunus.targets import Target

_CORRUPTING, _OWN_FAULT = 4, 2
# The most pointers that `trial.c` passes.
MOST_ARGUMENTS = 12
# An emulator does some millions a second.
_MOST_MACS = 3_000_000


@dataclass(frozen=True)
class Argument:
    """One pointer of a kernel: "r" read, "c" read and constant, "w" written, "s" scratch; and what lies there first."""

    role: str
    data: bytes = field(repr=False)
    scratch_bytes: int = 0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A kernel that can be tried.

    Attributes:
        library: shared library of the kernel alone.
        symbol: its name there.
        units: its whole range.
        arguments: in the kernel's order.
        macs: multiply-accumulates of the whole range.
    """

    library: Path
    symbol: str
    units: int
    arguments: Sequence[Argument]
    macs: int = 0


class TrialError(Exception):
    """A kernel that failed its trial."""

    def __init__(self, verdict: Verdict, text: str) -> None:
        self.verdict = verdict
        super().__init__(f"{verdict}: {text}")


class Trials:
    """Runs trials for one target.

    Args:
        target: decides the emulator.
        limit_s: a trial that takes longer is stopped.
        folder: for the memory of kernels; RAM suits best.
    """

    def __init__(self, target: Target, *, limit_s: float, folder: Path | None = None) -> None:
        self._command = [*target.runner, str(trial(zig_target(target)))]
        self._limit_s, self._folder = limit_s, folder

    def check(self, candidate: Candidate) -> tuple[bytes, bytes]:
        """Return the outputs in memory that ends, and in memory that starts, at a guard page.

        Raises:
            TrialError: the kernel crashed, hung, or touched memory beside its arguments.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            output = Path(name) / "output"
            self._run("check", [candidate], Path(name), [str(output)])
            data = output.read_bytes()
        return data[: len(data) // 2], data[len(data) // 2 :]

    def time(
        self, candidate: Candidate, incumbent: Candidate, *, seconds: float, other_bytes: int
    ) -> list[tuple[float, float]]:
        """Return nanoseconds of a call of both, a pair for each round in which they take turns.

        Args:
            seconds: how long to go on; less where the candidate is far slower.
            other_bytes: memory to pass over before each call, as the rest of the network would.

        Raises:
            TrialError: as `check`.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            arguments = [str(int(seconds * 1000)), str(other_bytes)]
            text = self._run("time", [candidate, incumbent], Path(name), arguments)
        rounds = [line.split() for line in text.splitlines()]
        return [(float(own), float(other)) for own, other in rounds]

    def count(self, candidate: Candidate, command: Sequence[str]) -> float:
        """Call the kernel between marks, with `command` in front of the program; return the part of it that ran.

        Emulators take seconds for large kernels, so that of those only a part runs.

        Raises:
            TrialError: as `check`.
        """
        half = max(1, min(candidate.units, _MOST_MACS * candidate.units // max(1, candidate.macs)) // 2)
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            self._run("count", [candidate], Path(name), [str(half)], [*command, self._command[-1]])
        return 2 * half / candidate.units

    def _run(
        self,
        mode: str,
        candidates: Sequence[Candidate],
        folder: Path,
        arguments: Sequence[str],
        command: Sequence[str] = (),
    ) -> str:
        image = folder / "image"
        try:
            lines = _write_image(image, candidates)
        except OSError as error:
            raise OutputError(
                f"cannot write temporary files in {folder}: {error.strerror or error}",
                do="free space there, or set TMPDIR to another folder",
            ) from error
        try:
            result = subprocess.run(
                [*(command or self._command), mode, str(image), *arguments],
                input="\n".join(lines), capture_output=True, text=True, check=False, timeout=self._limit_s,
                process_group=0,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise TrialError(Verdict.HUNG, f"it was stopped after {self._limit_s:g} s") from error
        if result.returncode == _OWN_FAULT:
            raise BuildError(f"a trial could not start: {result.stderr.strip()}")
        if result.returncode:
            verdict = Verdict.CORRUPTING if result.returncode == _CORRUPTING else Verdict.CRASHED
            raise TrialError(verdict, f"exit code {result.returncode} {result.stderr.strip()}".strip())
        return result.stdout


def _write_image(path: Path, candidates: Sequence[Candidate]) -> list[str]:
    """Write the memory of candidates, equal parts once, and return the description that `trial.c` reads."""
    lines, offsets, size = [], dict[bytes, int](), 0
    with path.open("wb") as file:
        for candidate in candidates:
            lines += [str(candidate.library), f"{candidate.symbol} {candidate.units} {len(candidate.arguments)}"]
            for argument in candidate.arguments:
                if argument.data not in offsets:
                    offsets[argument.data] = size
                    size += file.write(argument.data)
                lines.append(f"{argument.role} {len(argument.data) + argument.scratch_bytes} {offsets[argument.data]}")
    return lines
