"""A kernel that cannot be compiled, whatever it does to its compiler, costs nothing but itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prunus.backends.codegen import workers as workers_module
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.codegen.workers import Workers
from prunus.backends.plan.program import KernelSpec
from prunus.errors import BuildError, OutputError
from prunus.targets import load_target

NATIVE = load_target("native")

# Compiles like `worker.py`, but for a family that acts as its knob says.
COMPILER = """
import os, sys
from prunus.backends.codegen import worker

class Family:
    def emit(self, problem, knob, target):
        if knob == "abort":
            print("LLVM ERROR: cannot select", file=sys.stderr, flush=True)
            os.abort()
        if knob == "print":
            print("a library prints to the standard output")
        if knob == "raise":
            raise ValueError("no such tile")
        if knob == "full":
            raise OSError(28, os.strerror(28))

def write_object(function, symbol, target, path):
    path.write_text(symbol)

worker.by_name = lambda name: Family()
worker.write_object = write_object
worker.main()
"""


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    script = tmp_path / "compiler.py"
    script.write_text(COMPILER)
    start = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[str]:
        assert command[1:] == ["-m", "prunus.backends.codegen.worker"]
        return start([sys.executable, str(script)], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    made = Workers(1)
    yield made
    made.close()


def build(workers: Workers, folder: Path, *knobs: str) -> list[Path]:
    specs = [KernelSpec("test", f"problem {index}", knob) for index, knob in enumerate(knobs)]
    kernels = [CompiledKernel(f"k_{index}", folder / f"{index}.o") for index in range(len(knobs))]
    list(workers.map(specs, kernels, NATIVE))
    return [kernel.object_path for kernel in kernels]


def test_kernels_are_written(workers: Workers, tmp_path: Path) -> None:
    paths = build(workers, tmp_path / "new", "fine", "print", "fine")
    assert [path.read_text() for path in paths] == ["k_0", "k_1", "k_2"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["0.o", "1.o", "2.o"]


def test_a_compiler_that_dies_is_reported_and_replaced(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        build(workers, tmp_path, "fine", "abort", "fine")
    message = str(caught.value)
    assert "'problem 1'" in message
    assert "LLVM ERROR: cannot select" in message
    assert "exit code -6" in message
    assert [(tmp_path / f"{index}.o").exists() for index in range(3)] == [True, False, True]
    assert build(workers, tmp_path, "fine")


def test_the_last_words_are_those_of_one_compiler(workers: Workers, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(BuildError) as caught:
            build(workers, tmp_path, "abort")
        assert str(caught.value).count("LLVM ERROR") == 1


def test_an_exception_is_reported_and_the_compiler_goes_on(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="ValueError: no such tile"):
        build(workers, tmp_path, "raise")
    assert build(workers, tmp_path, "fine")


def test_a_full_disk_is_no_fault_of_the_kernel(workers: Workers, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        build(workers, tmp_path, "full")


def test_a_child_has_workers_of_its_own() -> None:
    mine = workers_module.shared_workers()
    assert workers_module.shared_workers() is mine
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"other" if workers_module.shared_workers() is not mine else b"same")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 5) == b"other"
