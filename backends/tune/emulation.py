"""The meter of foreign processors: instructions counted under the emulator, cycles estimated from them."""

import tempfile
from pathlib import Path

from prunus.backends.codegen.runtime import plugin
from prunus.backends.tune.cycles import core_of, total_cycles
from prunus.backends.tune.record import Source
from prunus.backends.tune.trial import Candidate, Trials
from prunus.emulated import check_command
from prunus.errors import BuildError, TuneError
from prunus.targets import Target

# Estimates have no noise, but errors of their own.
_LEAST_GAIN = 1.03


class CycleCount:
    """Estimates cycles of kernels for an AArch64 target.

    Raises:
        TuneError: there is no model of the target's instructions.
        TargetError: the emulator is missing.
    """

    source = Source.ESTIMATED

    def __init__(self, trials: Trials, target: Target) -> None:
        if target.architecture != "aarch64":
            raise TuneError(
                f"cycles of {target.architecture} cannot be estimated for {target.name!r}",
                expected="a target of aarch64, or one that this machine runs itself",
                do="tune on the board itself, with target 'native', and bring its file of records",
            )
        check_command(target.runner, target=target.name, architecture=target.architecture)
        self._trials, self._core, self._runner = trials, core_of(target), target.runner
        self._known: dict[Candidate, float] = {}

    def cost(self, candidate: Candidate) -> float:
        if candidate not in self._known:
            self._known[candidate] = self._count(candidate)
        return self._known[candidate]

    def gain(self, candidate: Candidate, incumbent: Candidate) -> float:
        gain = self.cost(incumbent) / self.cost(candidate)
        return gain if gain >= _LEAST_GAIN else 1.0

    def _count(self, candidate: Candidate) -> float:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "blocks"
            command = [self._runner[0], "-plugin", f"{plugin()},out={output}", *self._runner[1:]]
            share = self._trials.count(candidate, command)
            if not output.exists():
                raise BuildError(
                    f"{self._runner[0]} took no plugin", expected="QEMU 4.2 to 8, built with plugins",
                    do="install another QEMU, or tune on the board itself",
                )  # fmt: skip
            return total_cycles(output.read_text().splitlines(), self._core) / share
