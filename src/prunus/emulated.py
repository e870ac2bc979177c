"""A library of a foreign processor, run in processes of its own under an emulator."""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from prunus.errors import ArtifactError, PrunusError, TargetError
from prunus.manifest import Manifest, library_name
from prunus.native import library_error
from prunus.temporary import TemporaryFolder

_REFUSED = 3
# Fewer runs are not worth the start of another emulator.
_RUNS_FOR_A_PROCESS = 8
_LIBC_PACKAGES = {"aarch64": "libc6-arm64-cross", "arm": "libc6-armhf-cross", "x86_64": "libc6-amd64-cross"}


class EmulatedModel:
    """A library behind a command such as `("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")`.

    Args:
        library: bytes of the shared library.
        manifest: its manifest.
        threads: threads that share the steps.
        command: what stands in front of the program that loads the library.

    Raises:
        TargetError: the emulator or the C library of its system is missing here.
    """

    def __init__(self, library: bytes, manifest: Manifest, threads: int, command: Sequence[str]) -> None:
        check_command(command, target=manifest.target, architecture=manifest.architecture)
        self._manifest, self._threads, self._command = manifest, threads, tuple(command)
        self._folder = TemporaryFolder()
        self._library = self._folder.write(library_name(manifest.name), library)

    def run_many(self, sets: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        """Run each set of inputs, many of them in a process a core. `sets` are contiguous and match the manifest."""
        from prunus.backends.codegen.runtime import harness

        command = [*self._command, str(harness(self._manifest.system)), str(self._library), self._manifest.name]
        cores = max(1, len(os.sched_getaffinity(0)) // self._threads)
        size = max(_RUNS_FOR_A_PROCESS, -(-len(sets) // cores))
        portions = [sets[start : start + size] for start in range(0, len(sets), size)]
        with ThreadPoolExecutor(cores) as pool:
            return [outputs for results in pool.map(partial(self._run, command), portions) for outputs in results]

    def _run(self, command: Sequence[str], sets: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        result = subprocess.run(
            [*command, str(self._threads), str(len(sets))],
            input=b"".join(array.tobytes() for arrays in sets for array in arrays),
            capture_output=True,
            check=False,
        )
        if result.returncode:
            raise self._error(result.returncode, result.stderr.decode(errors="replace"))
        return self._outputs(result.stdout, len(sets))

    def profile(self, arrays: Sequence[np.ndarray]) -> list[int]:
        """Refuse: an emulator's times say nothing of the processor's."""
        raise TargetError(
            f"{self._manifest.name} is for {self._manifest.target} and runs under an emulator here",
            do="measure on the board itself, or compile for the target native",
        )

    def _outputs(self, data: bytes, sets: int) -> list[list[np.ndarray]]:
        results, offset = [], 0
        for _ in range(sets):
            outputs = []
            for record in self._manifest.outputs:
                output = np.empty(record.shape, record.dtype)
                # A flat copy: frombuffer's own array would be read-only.
                output.reshape(-1)[:] = np.frombuffer(data, record.dtype, output.size, offset)
                offset += output.nbytes
                outputs.append(output)
            results.append(outputs)
        return results

    def _error(self, code: int, text: str) -> PrunusError:
        first, _, rest = text.partition("\n")
        if code == _REFUSED and first.isdecimal():
            return library_error(int(first), rest)
        # A killed program is reported as -signal, or by some emulators as 128 + signal.
        number = -code if code < 0 else code - 128
        died = f", {signal.Signals(number).name}" if number in set(signal.Signals) else ""
        return ArtifactError(
            f"{' '.join(self._command)} ended with code {code}{died}: {text.strip()}",
            expected="an emulator of a processor that runs the library",
            do="run it on the board itself, or name another emulator: artifact.run_under(...)",
        )


def check_command(command: Sequence[str], *, target: str, architecture: str) -> None:
    """Check that an emulator and the C library of its system are there.

    Args:
        command: what stands in front of programs, as in `Target.runner`.
        target: name of the target that it stands for.
        architecture: as in `Target.architecture`.

    Raises:
        TargetError: says what to install.
    """
    if not command:
        raise TargetError(
            f"the library is for {target}, and this machine is another kind of processor",
            do="run it there, or name an emulator: artifact.run_under(...)",
        )
    if shutil.which(command[0]) is None:
        raise TargetError(
            f"{command[0]} is not installed; without it programs for {target} do not run here",
            do="apt install qemu-user",
        )
    system = Path(command[command.index("-L") + 1]) if "-L" in command else None
    if system is not None and not system.is_dir():
        raise TargetError(
            f"{system} is missing: the C library for {target}",
            do=f"apt install {_LIBC_PACKAGES.get(architecture, 'the C library of that system')}",
        )
