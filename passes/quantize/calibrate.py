"""Choose the grid of each value from what calibration samples make of it."""

from collections.abc import Mapping

from torch.fx import Node

from prunus.passes.graph import Graph, aten, is_op
from prunus.passes.quantize.annotate import Plan
from prunus.passes.quantize.grid import Grid, asymmetric
from prunus.passes.quantize.kinds import MAXIMA, Kind, data
from prunus.passes.quantize.observers import NEED_HISTOGRAM, OBSERVERS
from prunus.passes.quantize.statistics import Statistics, joined
from prunus.passes.quantize.watch import watch
from prunus.passes.recovery import Batches

FINEST_SHARE = 0.25
"""A source of a concatenation that spans less of the whole keeps a grid of its own, at the price of a table lookup."""


def calibrate(graph: Graph, plan: Plan, batches: Batches, observer: str) -> dict[Node, Grid]:
    """Return the grid of each value of the plan; tied values have the very same `Grid`.

    A value that only maxima read gets the grid that suits their results.

    Raises:
        InputError: samples that do not fit the graph.
        QuantizeError: NaN or infinite activations.
    """
    statistics = {node.name: Statistics(node.name) for node in plan.values}
    watch(graph, batches, statistics, lambda name, portion: statistics[name].extend(portion))
    if observer in NEED_HISTOGRAM:
        watch(graph, batches, statistics, lambda name, portion: statistics[name].count(portion))
    grids: dict[Node, Grid] = {}
    for group in _join(plan, statistics):
        # What a maximum drops may be clipped or coarse: its result alone decides.
        seen = [node for node in group if not _feeds_maxima(node, plan)] or group
        found = OBSERVERS[observer](joined(group[0].name, [statistics[node.name] for node in seen]))
        grids |= dict.fromkeys(group, asymmetric(found.low, found.high))
    return grids


def _join(plan: Plan, statistics: Mapping[str, Statistics]) -> list[list[Node]]:
    """Add to the tied groups those sources of concatenations that span enough of the result."""
    group: dict[Node, list[Node]] = {}
    for members in plan.tied:
        together = list(members)
        group |= dict.fromkeys(members, together)
    for node in plan.joined:
        if node not in group:
            continue
        whole = _span(statistics[node.name])
        for source in data(node):
            theirs, ours = group[source], group[node]
            if theirs is ours or max(_span(statistics[member.name]) for member in theirs) < FINEST_SHARE * whole:
                continue
            ours.extend(theirs)
            group |= dict.fromkeys(theirs, ours)
    return list({id(members): members for members in group.values()}.values())


def _feeds_maxima(node: Node, plan: Plan) -> bool:
    """Tell whether nothing reads a value but maxima, directly or behind nodes that only move numbers."""

    def drops(user: Node) -> bool:
        if plan.kinds.get(user) is not Kind.MOVE:
            return False
        return is_op(user, *MAXIMA) or (not is_op(user, aten.cat.default) and _feeds_maxima(user, plan))

    return bool(node.users) and all(drops(user) for user in node.users)


def _span(seen: Statistics) -> float:
    return max(seen.high, 0.0) - min(seen.low, 0.0)
