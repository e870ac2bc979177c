"""Kernels to objects: found in the cache on disk, or compiled in worker processes.

LLVM ends its process on instructions that a processor lacks, so nothing is compiled in the user's own process.
"""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import metadata, resources
from queue import SimpleQueue
from typing import Any

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.plan.program import KernelSpec
from prunus.errors import BuildError, OutputError
from prunus.targets import Target

Progress = Callable[[int, int], None]


def compile_kernels(
    specs: Iterable[KernelSpec], target: Target, *, on_progress: Progress | None = None
) -> dict[KernelSpec, CompiledKernel]:
    """Return the compiled kernel of every spec.

    Args:
        specs: what to compile; equal ones once.
        target: for which processor.
        on_progress: called with the number of finished kernels and of all.

    Raises:
        BuildError: a kernel that does not compile; the message names it.
        OutputError: the disk is full.
    """
    kernels = {spec: _kernel(spec, target) for spec in dict.fromkeys(specs)}
    missing = [spec for spec, kernel in kernels.items() if not kernel.object_path.exists()]
    done = len(kernels) - len(missing)
    report = on_progress or (lambda finished, total: None)
    report(done, len(kernels))
    if missing:
        with Workers(min(len(missing), len(os.sched_getaffinity(0)))) as workers:
            for _ in workers.map(missing, [kernels[spec] for spec in missing], target):
                done += 1
                report(done, len(kernels))
    return kernels


def _kernel(spec: KernelSpec, target: Target) -> CompiledKernel:
    """Name a kernel by everything that its code depends on."""
    machine = (target.triple, target.cpu, target.attributes, target.float_abi)
    key = hashlib.sha256(repr((spec, machine, template_version())).encode()).hexdigest()
    return CompiledKernel(f"k_{key[:16]}", cache_dir() / "kernels" / f"{key}.o")


@lru_cache(maxsize=1)
def template_version() -> str:
    """Return a hash of the emitters' sources and the version of TVM."""
    digest = hashlib.sha256(metadata.version("apache-tvm").encode())
    for folder in ("prunus.backends.kernels", "prunus.backends.codegen"):
        for file in sorted(resources.files(folder).iterdir(), key=lambda item: item.name):
            if file.name.endswith(".py") and (folder.endswith("kernels") or file.name == "lower.py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


class Workers:
    """Processes that compile kernels; one that dies costs its kernel only."""

    def __init__(self, count: int) -> None:
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all = [_Worker() for _ in range(count)]
        for worker in self._all:
            self._idle.put(worker)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.close()

    def map(self, specs: list[KernelSpec], kernels: list[CompiledKernel], target: Target) -> Iterable[None]:
        """Compile all, in parallel; yields as they finish."""

        def run(spec: KernelSpec, kernel: CompiledKernel) -> None:
            worker = self._idle.get()
            try:
                worker.compile(spec, kernel, target)
            finally:
                self._idle.put(worker)

        with ThreadPoolExecutor(len(self._all)) as pool:
            yield from pool.map(run, specs, kernels)


class _Worker:
    """One process, started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the worker

    def compile(self, spec: KernelSpec, kernel: CompiledKernel, target: Target) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "prunus.backends.codegen.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._errors, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        answer = self._ask((spec, kernel.symbol, str(kernel.object_path), target))
        if answer is None:
            return
        # What a compiler that died has left half-written: see `worker.py`.
        kernel.object_path.with_name(f"{kernel.object_path.stem}.{self._process.pid}.o").unlink(missing_ok=True)
        if os.strerror(errno.ENOSPC) in answer:
            raise OutputError("the disk is full", do=f"free space for {cache_dir()}, or name another: PRUNUS_CACHE")
        raise BuildError(f"kernel {spec} does not compile: {answer}", do="report it with this message")

    def _ask(self, task: Any) -> str | None:
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            code = self._process.wait()
            self._errors.seek(0)
            return f"the compiler died (exit code {code})\n{self._errors.read().decode(errors='replace')[-2000:]}"

    def close(self) -> None:
        if self._process is None:
            return
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()
        self._errors.close()
