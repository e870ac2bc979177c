"""Workers that know the family of these tests, and a cache of its own for each test."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prunus.backends.codegen.workers import Workers
from prunus.backends.tune import builder
from prunus.backends.tune.bench import Workshop
from prunus.backends.tune.builder import Builder, Built
from prunus.backends.tune.record import Source
from prunus.backends.tune.task import Task
from prunus.backends.tune.trial import Candidate, Trials
from tests.backends.tune.families import NATIVE

ROOT = Path(__file__).resolve().parents[3]
COMPILER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from prunus.backends.codegen import worker
from tests.backends.tune.families import Misbehaving
known = worker.by_name
worker.by_name = lambda name: Misbehaving() if name == Misbehaving.name else known(name)
worker.main()
"""


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    script = tmp_path_factory.mktemp("workers") / "compiler.py"
    script.write_text(COMPILER)
    start = subprocess.Popen

    def popen(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        compiles = command[1:] == ["-m", "prunus.backends.codegen.worker"]
        return start([sys.executable, str(script)] if compiles else command, **options)

    patch = pytest.MonkeyPatch()
    patch.setattr(subprocess, "Popen", popen)
    made = Workers(1)
    yield made
    made.close()
    patch.undo()


class Repeats:
    """A meter without a clock: a kernel costs as many as its knob repeats."""

    source = Source.MEASURED

    def cost(self, candidate: Candidate) -> float:
        return float(candidate.library.with_suffix(".repeats").read_text())

    def gain(self, candidate: Candidate, incumbent: Candidate) -> float:
        return max(1.0, self.cost(incumbent) / self.cost(candidate))


class NotingBuilder(Builder):
    """Leaves what the knob repeats beside the kernel."""

    def build(self, task: Task, knob: Any) -> Built:
        built = super().build(task, knob)
        built.candidate.library.with_suffix(".repeats").write_text(str(knob.repeats))
        return built


@pytest.fixture
def shop(workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A workshop for this machine, whose trials are stopped after two seconds."""
    monkeypatch.setattr(builder, "shared_workers", lambda: workers)
    folder = tmp_path / "kernels"
    folder.mkdir()
    trials = Trials(NATIVE, limit_s=2.0, folder=folder)
    with ThreadPoolExecutor(1) as pool:
        yield Workshop(NotingBuilder(folder), trials, Repeats(), pool)
