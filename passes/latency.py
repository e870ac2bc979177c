"""How long a graph takes on a target: the planner's estimate, or kernels timed on this machine."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from prunus.passes.graph import Graph, copy_graph
from prunus.passes.numbers import random_inputs
from prunus.targets import Target

if TYPE_CHECKING:
    from prunus.backends.plan.program import KernelSpec, Program, Step

StepTimes = list[tuple[tuple[str, ...], float]]
"""For each step: the names of the nodes that it computes, and microseconds on one core."""

# Which of the times counts: what else the machine does makes none faster.
_QUANTILE = 0.05
_LEAST_RUNS = 20


class LatencyModel(Protocol):
    """Tells the time of a graph, as the canonical passes leave it.

    Attributes:
        source: what times are from, for reports.
        lanes: channels that one vector holds: between multiples of it widths cost much the same.
    """

    @property
    def source(self) -> str: ...

    @property
    def lanes(self) -> int: ...

    def latency_ms(self, graph: Graph) -> float:
        """Return the milliseconds of one run: a quick answer, for a search over many graphs."""

    def settle_ms(self, graph: Graph) -> float:
        """Return the milliseconds of one run: the best answer there is; quick answers profit from it."""


@dataclass(frozen=True)
class EstimatedLatency:
    """The planner's static estimate: the sum of its steps' cycles on one core at the target's clock."""

    target: Target

    @property
    def source(self) -> str:
        """What times are from."""
        return f"estimated for {self.target.name}"

    @property
    def lanes(self) -> int:
        """Channels that one vector holds."""
        return self.target.lanes()

    def latency_ms(self, graph: Graph) -> float:
        """Return the estimate."""
        return sum(time_us for _, time_us in self.steps(graph)) / 1000

    def steps(self, graph: Graph) -> StepTimes:
        """Return the steps that a graph is computed in, each with its estimate."""
        return [(step.nodes, step.cost_cycles / self.target.clock_mhz) for step in _program(graph, self.target).steps]

    settle_ms = latency_ms


@dataclass
class MeasuredLatency:
    """Times of kernels on this machine, one thread: a table by kernel that grows where the search looks.

    `settle_ms` compiles a graph's kernels, through the cache on disk, and times each step in place. Between the widths
    that have been timed a step takes its estimate times a factor that is interpolated over the estimates of the same
    step: the estimate knows where vectors end, the factor what it does not.

    Attributes:
        target: of this machine.
        seconds: how long a graph runs to be timed, at the least.
    """

    target: Target
    seconds: float = 0.5
    _table: dict[tuple[tuple[str, ...], "KernelSpec"], float] = field(default_factory=dict, repr=False)
    _factors: dict[tuple[str, ...], dict[float, float]] = field(default_factory=dict, repr=False)

    @property
    def source(self) -> str:
        """What times are from."""
        return "measured on this machine"

    @property
    def lanes(self) -> int:
        """Channels that one vector holds."""
        return self.target.lanes()

    def latency_ms(self, graph: Graph) -> float:
        """Return the sum over the steps, each from the table or interpolated."""
        return sum(map(self._step_ms, _program(graph, self.target).steps))

    def settle_ms(self, graph: Graph) -> float:
        """Compile the graph, time its steps, and return their sum."""
        program = _program(graph, self.target)
        for step, found in zip(program.steps, self._times_ms(graph, program), strict=True):
            self._table[step.nodes, step.kernel] = found
            if step.cost_cycles > 0:
                self._factors.setdefault(step.nodes, {})[step.cost_cycles] = found / step.cost_cycles
        return self.latency_ms(graph)

    def _step_ms(self, step: "Step") -> float:
        if (step.nodes, step.kernel) in self._table:
            return self._table[step.nodes, step.kernel]
        factors = sorted(self._factors.get(step.nodes, {1.0: 1 / (self.target.clock_mhz * 1000)}).items())
        cycles, numbers = zip(*factors, strict=True)
        return step.cost_cycles * float(np.interp(step.cost_cycles, cycles, numbers))

    def _times_ms(self, graph: Graph, program: "Program") -> list[float]:
        from prunus.artifact import Artifact
        from prunus.backends.codegen.compile import compile_kernels

        kernels = compile_kernels((step.kernel for step in program.steps), self.target)
        artifact = Artifact.build(program, kernels)
        arrays = [tensor.numpy() for tensor in random_inputs(graph)]
        artifact.profile(*arrays)
        step_ns: list[list[int]] = []
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until or len(step_ns) < _LEAST_RUNS:
            step_ns.append(artifact.profile(*arrays))
        return [float(ns) / 1e6 for ns in np.quantile(np.array(step_ns), _QUANTILE, axis=0)]


def latency_model(target: Target) -> LatencyModel:
    """Return measured times where this machine runs the target's code, else the estimate."""
    from prunus.native import process_architecture
    from prunus.targets.host import missing_features

    here = target.architecture == process_architecture() and not missing_features(target)
    return MeasuredLatency(target) if here else EstimatedLatency(target)


def _program(graph: Graph, target: Target) -> "Program":
    from prunus.backends.plan.planner import plan
    from prunus.passes import FOLD

    folded = copy_graph(graph)
    for one_pass in FOLD:
        folded = one_pass(folded)
    return plan(folded, name="pruned", target=target)
