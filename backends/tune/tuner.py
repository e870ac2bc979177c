"""Tuning: for each kernel of a graph, try other knobs for as long as its share of the network's time is worth."""

import dataclasses
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prunus.backends.plan.program import Program
from prunus.backends.tune.bench import Bench, FirstGuessFailed, Workshop
from prunus.backends.tune.builder import Builder
from prunus.backends.tune.emulation import CycleCount
from prunus.backends.tune.meter import Meter, Stopwatch
from prunus.backends.tune.record import Record, Source, Verdict, knob_fields
from prunus.backends.tune.records import Records
from prunus.backends.tune.report import TunedKernel, TuningReport
from prunus.backends.tune.task import Task, tasks_of
from prunus.backends.tune.together import Comparison, compare
from prunus.backends.tune.trial import MOST_ARGUMENTS, Trials
from prunus.passes.graph import Graph
from prunus.targets import Target

Progress = Callable[[str, int, int], None]

_TRIAL_LIMIT_S = 20.0
# Of the time, for comparing the whole network before and after.
_TOGETHER = 0.1


def tune(
    graph: Graph,
    *,
    target: Target,
    minutes: float,
    records: Records,
    progress: Progress | None = None,
) -> TuningReport:
    """Try knobs of a graph's kernels and append what became of them to `records`.

    Ctrl-C ends the search early; what was found by then is kept. Knobs that have a record are not tried again.

    Args:
        graph: as the passes leave it.
        target: what to tune for; natively where this machine runs its code, else by the emulator's cycles.
        minutes: how long.
        records: what is known, and where new records go.
        progress: called with "tune", seconds that have passed, and all seconds.

    Raises:
        TuneError: this machine can neither run the target's code nor estimate its cycles.
        OutputError: the disk is full; what was recorded is kept.
    """
    return _Tuner(graph, target, minutes, records, progress or (lambda step, done, total: None)).run()


class _Tuner:
    """The state of one run."""

    def __init__(self, graph: Graph, target: Target, minutes: float, records: Records, progress: Progress) -> None:
        self.graph, self.target, self.records = graph, target, records
        self.start, self.seconds, self.progress = time.monotonic(), 60 * minutes, progress
        self.program, self.tasks = tasks_of(graph, target, records)
        self.before = {(step.kernel.family, step.kernel.problem): step.kernel.knob for step in self.program.steps}
        self.benches: list[Bench] = []
        self.tried: Counter[Task] = Counter()
        self.won: dict[Task, list[Record]] = {}
        self.verdicts: Counter[Verdict] = Counter()
        self.remarks: list[str] = []

    def run(self) -> TuningReport:
        stopped, comparison = False, None
        try:
            with tempfile.TemporaryDirectory(prefix="prunus-tune-") as folder:
                self._search(Path(folder))
            if self.won and not self.target.runner:
                comparison = self._compare()
        except KeyboardInterrupt:
            stopped = True
        return self._report(stopped, comparison)

    # Search

    def _search(self, folder: Path) -> None:
        trials = Trials(self.target, limit_s=_TRIAL_LIMIT_S, folder=folder)
        meter: Meter = (
            CycleCount(trials, self.target)
            if self.target.runner
            else Stopwatch(trials, other_bytes=_other_bytes(self.program))
        )
        pool = ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) - 1))
        try:
            self.benches = list(self._open(Workshop(Builder(folder), trials, meter, pool)))
            self._share_out(self.start + self.seconds * (1 - _TOGETHER))
        finally:
            pool.shutdown(cancel_futures=True)

    def _open(self, shop: Workshop) -> Iterator[Bench]:
        """Yield a bench for each kernel that has something to try."""
        tasks = [task for task in self.tasks if len(task.candidates) > 1]
        first = {task: shop.pool.submit(shop.builder.build, task, task.candidates[0]) for task in tasks}
        for task in tasks:
            self._tell()
            if self._passed > self.seconds:
                return
            if len(task.arguments(task.candidates[0])) > MOST_ARGUMENTS:
                self._remark(task, "it has more arguments than a trial can pass")
                continue
            try:
                yield Bench(task, self.records, shop, first[task])
            except FirstGuessFailed as error:
                self._remark(task, f"its first guess failed, {error}")

    def _share_out(self, until: float) -> None:
        """Give each kernel its share of the time, the costliest first, and what they leave over once more."""
        benches = sorted(self.benches, key=lambda bench: -bench.weight)
        while (benches := [bench for bench in benches if bench.has_more]) and time.monotonic() < until:
            for index, bench in enumerate(benches):
                left = until - time.monotonic()
                if left <= 0:
                    return
                share = bench.weight / sum(other.weight for other in benches[index:])
                self._work(bench, time.monotonic() + share * left)

    def _work(self, bench: Bench, until: float) -> None:
        """Try knobs of one kernel until its time is over, at least one."""
        try:
            for record in bench.trials():
                self.records.append(record)
                self.tried[bench.task] += 1
                self.verdicts[record.verdict] += 1
                if record.verdict == Verdict.FASTER:
                    self.won.setdefault(bench.task, []).append(record)
                self._tell()
                if time.monotonic() >= until:
                    return
        except FirstGuessFailed as error:
            self._remark(bench.task, f"its first guess failed, {error}")

    def _remark(self, task: Task, why: str) -> None:
        self.remarks.append(f"{task.layer} ({task.family.name}) is not tuned: {why}")

    @property
    def _passed(self) -> float:
        return time.monotonic() - self.start

    def _tell(self) -> None:
        self.progress("tune", int(min(self._passed, self.seconds)), int(self.seconds))

    # The whole network

    def _compare(self) -> Comparison:
        """Run the network as it was and as it is in turns, and withdraw what does not pay there."""
        comparison = compare(self.graph, self.target, self.before, self.records)
        for task, winners in self.won.items():
            if comparison.gains[task.family.name, task.problem] < 1:
                # All that this run has found: the ones that the last winner beat were no better there.
                for record in winners:
                    self.records.append(dataclasses.replace(record, verdict=Verdict.WITHDRAWN))
                self.verdicts[Verdict.WITHDRAWN] += len(winners)
        return comparison

    def _report(self, stopped: bool, comparison: Comparison | None) -> TuningReport:
        total = sum(bench.weight for bench in self.benches)
        rows = []
        for bench in sorted(self.benches, key=lambda bench: -bench.weight):
            task = bench.task
            best = self.records.best(task.family, task.problem, self.target)
            rows.append(
                TunedKernel(
                    family=task.family.name, layer=task.layer, uses=task.uses, cost=bench.cost,
                    share=bench.weight / total, knobs=len(task.candidates), tried=self.tried[task],
                    gain=best[1].gain if best is not None else 1.0,
                    knob=knob_fields(best[0] if best is not None else task.candidates[0]),
                )
            )  # fmt: skip
        return TuningReport(
            target=self.target.name,
            source=Source.ESTIMATED if self.target.runner else Source.MEASURED,
            seconds=self._passed,
            stopped=stopped,
            kernels=tuple(rows),
            verdicts=self.verdicts,
            together=comparison.gain if comparison is not None else None,
            remarks=(*self.records.remarks, *self.remarks),
        )


def _other_bytes(program: Program) -> int:
    """Return how much other memory a network touches between two calls of a kernel, nothing where all fits the caches.

    Beyond twice the second cache it makes no difference that is worth its time.
    """
    touched = program.arena.size_bytes + sum(array.nbytes for array in program.constants.values())
    return 0 if touched <= program.target.cache.l2_bytes else min(touched, 2 * program.target.cache.l2_bytes)
