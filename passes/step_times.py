"""How long the steps of a graph take on a target, as the planner estimates it."""

from prunus.passes.graph import Graph
from prunus.targets import Target

StepTimes = list[tuple[tuple[str, ...], float]]
"""For each step: the names of the nodes that it computes, and microseconds on one core."""


def estimated_steps(graph: Graph, target: Target) -> StepTimes:
    """Return the steps that a folded graph (`passes.DEFAULT`) is computed in, with their static estimates."""
    from prunus.backends.plan.planner import plan

    program = plan(graph, name="estimated", target=target)
    return [(step.nodes, step.cost_cycles / target.clock_mhz) for step in program.steps]
