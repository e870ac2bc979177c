"""From knobs to kernels that can be tried."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunus.backends.codegen.compile import kernel_of
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.codegen.toolchain import link_kernel
from prunus.backends.codegen.workers import shared_workers
from prunus.backends.tune.record import Verdict
from prunus.backends.tune.task import Task
from prunus.backends.tune.trial import Candidate, TrialError
from prunus.errors import BuildError, OutputError

# LLVM takes a fraction of a second; more than this is no way of computing that anyone wants.
_COMPILE_LIMIT_S = 60.0


@dataclass(frozen=True)
class Built:
    """A compiled candidate, and its object outside the cache."""

    candidate: Candidate
    kernel: CompiledKernel

    def publish(self, place: Path) -> None:
        """Copy the object to its place in the cache, whole or not at all."""
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as beside:
            fresh = Path(beside) / place.name
            shutil.copyfile(self.kernel.object_path, fresh)
            fresh.replace(place)

    def discard(self) -> None:
        """Delete the files: nobody wants this candidate."""
        self.candidate.library.unlink()
        self.kernel.object_path.unlink()


class Builder:
    """Compiles candidates in the worker processes, into a folder of its own: most of them nobody wants to keep."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, task: Task, knob: Any) -> Built:
        """Compile, link and pack one candidate.

        Raises:
            TrialError: it does not compile, or not in time.
            OutputError: the disk is full.
        """
        named = kernel_of(task.spec(knob), task.target)
        kernel = CompiledKernel(named.symbol, self._folder / named.object_path.name)
        library = kernel.object_path.with_suffix(".so")
        try:
            if not named.object_path.exists():
                shared_workers().compile(task.spec(knob), kernel, task.target, limit_s=_COMPILE_LIMIT_S)
            else:
                shutil.copyfile(named.object_path, kernel.object_path)
            link_kernel(kernel, library)
        except OutputError:
            raise
        except BuildError as error:
            raise TrialError(Verdict.UNCOMPILABLE, error.found) from error
        arguments = task.arguments(knob)
        return Built(Candidate(library, kernel.symbol, task.units(knob), arguments, task.match.macs), kernel)
