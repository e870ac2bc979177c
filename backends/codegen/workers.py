"""Processes that compile kernels, kept between builds: each takes seconds to load TVM.

LLVM ends its process on instructions that a processor lacks, so nothing is compiled in the user's own process.
"""

import atexit
import errno
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from queue import LifoQueue
from typing import Any

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.plan.program import KernelSpec
from prunus.errors import BuildError, OutputError
from prunus.targets import Target

# A further process is worth its start for as many kernels.
_KERNELS_FOR_A_WORKER = 6


def shared_workers() -> "Workers":
    """Return this process's workers; a child after a fork gets its own."""
    return _workers_of(os.getpid())


@lru_cache(maxsize=1)
def _workers_of(process: int) -> "Workers":
    workers = Workers(len(os.sched_getaffinity(0)))
    atexit.register(workers.close)
    return workers


class Workers:
    """Processes that compile kernels, started when they are needed; one that dies costs its kernel only."""

    def __init__(self, count: int) -> None:
        self._all = [_Worker() for _ in range(count)]
        # Last in, first out: small builds keep to the processes that run already.
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._all:
            self._idle.put(worker)

    def map(self, specs: Sequence[KernelSpec], kernels: Sequence[CompiledKernel], target: Target) -> Iterable[None]:
        """Compile all, in parallel; yields as they finish.

        Raises:
            BuildError: a kernel that does not compile.
            OutputError: the disk is full.
        """

        with ThreadPoolExecutor(min(len(self._all), -(-len(specs) // _KERNELS_FOR_A_WORKER))) as pool:
            yield from pool.map(lambda spec, kernel: self.compile(spec, kernel, target), specs, kernels)

    def compile(
        self, spec: KernelSpec, kernel: CompiledKernel, target: Target, *, limit_s: float | None = None
    ) -> None:
        """Compile one kernel; a compiler that takes longer than `limit_s` is stopped.

        Raises:
            BuildError: the kernel does not compile, or not in time.
            OutputError: the disk is full.
        """
        worker = self._idle.get()
        try:
            worker.compile(spec, kernel, target, limit_s)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all processes."""
        for worker in self._all:
            worker.close()


class _Worker:
    """One process, `prunus.backends.codegen.worker`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the worker

    def compile(self, spec: KernelSpec, kernel: CompiledKernel, target: Target, limit_s: float | None) -> None:
        answer = None
        if self._process is None or self._process.poll() is not None:
            answer = self._start()
        if answer is None:
            answer = self._ask((spec, kernel.symbol, str(kernel.object_path), target), limit_s)
        if answer is None:
            return
        assert self._process is not None
        # What a compiler that died has left half-written: see `worker.py`.
        kernel.object_path.with_name(f"{kernel.object_path.stem}.{self._process.pid}.o").unlink(missing_ok=True)
        if os.strerror(errno.ENOSPC) in answer:
            raise OutputError("the disk is full", do=f"free space for {cache_dir()}, or name another: PRUNUS_CACHE")
        raise BuildError(f"kernel {spec} does not compile: {answer}", do="report it with this message")

    def _start(self) -> str | None:
        """Start the process and wait until it is ready: that takes seconds, and longer on a busy machine."""
        # In a group of its own: Ctrl-C is for the process that decides what becomes of the build.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "prunus.backends.codegen.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, env={**os.environ, "OMP_NUM_THREADS": "1"}, process_group=0,
        )  # fmt: skip
        return self._answer()

    def _ask(self, task: Any, limit_s: float | None) -> str | None:
        assert self._process is not None
        assert self._process.stdin is not None
        alarm = None if limit_s is None else threading.Timer(limit_s, self._process.kill)
        if alarm is not None:
            alarm.start()
        try:
            self._process.stdin.write(pickle.dumps(task))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_answer` says what its last words were.
        answer = self._answer()
        if alarm is not None:
            alarm.cancel()
        return answer

    def _answer(self) -> str | None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            code = self._process.wait()
            self._errors.seek(0)
            last_words = self._errors.read().decode(errors="replace")[-2000:]
            self._errors.seek(0)
            self._errors.truncate()
            return f"the compiler died (exit code {code})\n{last_words}"

    def close(self) -> None:
        self._errors.close()
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
        self._process = None
