"""How long a graph takes on a target."""

from dataclasses import dataclass
from typing import Protocol

from prunus.passes.graph import Graph, copy_graph
from prunus.targets import Target


class LatencyModel(Protocol):
    """Tells the time of a graph."""

    def latency_ms(self, graph: Graph) -> float:
        """Return the milliseconds of one run of a graph, as the canonical passes leave it."""


@dataclass(frozen=True)
class EstimatedLatency:
    """The planner's static estimate: the sum of its steps' cycles on one core at the target's clock."""

    target: Target

    def latency_ms(self, graph: Graph) -> float:
        from prunus.backends.plan.planner import plan
        from prunus.passes import FOLD

        folded = copy_graph(graph)
        for one_pass in FOLD:
            folded = one_pass(folded)
        program = plan(folded, name="pruned", target=self.target)
        return sum(step.cost_cycles for step in program.steps) / (self.target.clock_mhz * 1000)
