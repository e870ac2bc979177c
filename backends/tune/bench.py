"""The search for one kernel: candidates are compiled ahead, checked, and timed against the best so far."""

import platform
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from prunus.backends.codegen.compile import kernel_of
from prunus.backends.tune.builder import Builder, Built
from prunus.backends.tune.meter import Meter
from prunus.backends.tune.record import Record, Verdict, knob_fields
from prunus.backends.tune.records import Records
from prunus.backends.tune.task import Task, same_results
from prunus.backends.tune.trial import TrialError, Trials
from prunus.backends.tune.versions import spec_key, target_key, template_version, tvm_version

# Sums in another order: results differ by rounding, relative to the largest.
_TOLERANCE = 1e-4
# Candidates whose estimate is so many times that of the best so far are not worth their time.
_HOPELESS = 1.25
# Compiled while another one is timed.
_AHEAD = 2


@dataclass(frozen=True)
class Workshop:
    """What all benches share."""

    builder: Builder
    trials: Trials
    meter: Meter
    pool: Executor


class FirstGuessFailed(Exception):
    """The first guess fails its own trial: there is nothing to compare with."""


class Bench:
    """One kernel under trial.

    Args:
        task: the kernel.
        records: knobs with a record are not tried again.
        shop: builds and measures.
        first: the first guess, being built.

    Attributes:
        cost: of a call with the best knob known before, as the meter measures it.

    Raises:
        FirstGuessFailed: it does not compile, or not run.
    """

    def __init__(self, task: Task, records: Records, shop: Workshop, first: "Future[Built]") -> None:
        self.task, self._shop = task, shop
        self.knob, self.gain = task.candidates[0], 1.0
        known = records.of(task.family, task.problem, task.target)
        tried = [record.knob for record in known if record.source == shop.meter.source]
        self._waiting = deque(knob for knob in task.candidates[1:] if knob_fields(knob) not in tried)
        best = records.best(task.family, task.problem, task.target)
        try:
            self._first = self._best = first.result()
        except TrialError as error:
            raise FirstGuessFailed(str(error)) from error
        if best is not None:
            # A record whose kernel does not compile here is no better than the first guess.
            with suppress(TrialError):
                self._best = shop.builder.build(task, best[0])
                self.knob, self.gain = best[0], best[1].gain
        self._ahead: deque[tuple[Any, Future[Built]]] = deque()
        try:
            self.cost = shop.meter.cost(self._best.candidate)
        except TrialError as error:
            raise FirstGuessFailed(str(error)) from error

    @property
    def weight(self) -> float:
        """What the network spends on this kernel."""
        return self.cost * self.task.uses

    @property
    def has_more(self) -> bool:
        """Whether knobs are left that are worth a trial."""
        return bool(self._ahead) or (bool(self._waiting) and self._estimate(self._waiting[0]) <= self._limit)

    @property
    def _limit(self) -> float:
        return _HOPELESS * self._estimate(self.knob)

    def _estimate(self, knob: Any) -> float:
        return self.task.family.estimate(self.task.problem, knob, self.task.target)

    def trials(self) -> Iterator[Record]:
        """Try one knob after the other; yield what became of each.

        Raises:
            FirstGuessFailed: it gives no results to compare with.
        """
        while self.has_more:
            while self._waiting and len(self._ahead) < _AHEAD and self._estimate(self._waiting[0]) <= self._limit:
                knob = self._waiting.popleft()
                self._ahead.append((knob, self._shop.pool.submit(self._shop.builder.build, self.task, knob)))
            knob, future = self._ahead.popleft()
            verdict, gain = self._judge(knob, future)
            yield self._record(knob, verdict, gain)

    def _judge(self, knob: Any, future: "Future[Built]") -> tuple[Verdict, float]:
        try:
            built = future.result()
        except TrialError as error:
            return error.verdict, 0.0
        try:
            gain = self._shop.meter.gain(built.candidate, self._best.candidate)
            if gain > 1:
                self._verify(built)
        except TrialError as error:
            built.discard()
            return error.verdict, 0.0
        if gain <= 1:
            built.discard()
            return Verdict.SLOWER, 0.0
        built.publish(kernel_of(self.task.spec(knob), self.task.target).object_path)
        self._best, self.knob, self.gain = built, knob, self.gain * gain
        return Verdict.FASTER, self.gain

    def _verify(self, built: Built) -> None:
        truth = self._truth
        if not same_results(self._results(built), truth, _TOLERANCE):
            raise TrialError(Verdict.WRONG, "its results differ from those of the first guess")

    @cached_property
    def _truth(self) -> list[np.ndarray]:
        """What the first guess computes; asked for late, as emulators take seconds for large kernels."""
        try:
            return self._results(self._first)
        except TrialError as error:
            self._waiting.clear()
            self._ahead.clear()
            raise FirstGuessFailed(str(error)) from error

    def _results(self, built: Built) -> list[np.ndarray]:
        at_end, at_start = (self.task.results(data) for data in self._shop.trials.check(built.candidate))
        if not same_results(at_end, at_start, 0.0):
            raise TrialError(Verdict.WRONG, "its results depend on where its memory lies")
        return at_end

    def _record(self, knob: Any, verdict: Verdict, gain: float) -> Record:
        task = self.task
        return Record(
            spec=spec_key(task.family, task.problem),
            target=target_key(task.target),
            template=template_version(task.family),
            tvm=tvm_version(),
            target_name=task.target.name,
            family=task.family.name,
            layer=task.layer,
            knob=knob_fields(knob),
            verdict=verdict,
            gain=round(gain, 4),
            source=self._shop.meter.source,
            machine=platform.node(),
        )
