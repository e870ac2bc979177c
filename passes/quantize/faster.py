"""Where int8 is faster than float32, conversions included: a minimum cut.

Operators that share a step in either plan go together: a unit. Each unit costs the time of its float steps or of its
integer steps, and each value that crosses from one side to the other costs a conversion, once. The cheapest assignment
is the minimum cut of a network with a source (int8) and a sink (float32), which is exact and fast (Greig, Porteous and
Seheult 1989, "Exact maximum a posteriori estimation for binary images").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from math import inf

import networkx
from torch.fx import Node

from prunus.passes.graph import Graph, value
from prunus.passes.latency import StepTimes
from prunus.passes.quantize.annotate import Plan
from prunus.passes.quantize.kinds import Kind, data

GAIN = 0.1
"""An integer layer saves memory too, and times are estimates: float32 must save more than this share."""

_INTEGER, _FLOAT = "int8", "float32"


@dataclass(frozen=True)
class _Times:
    """Times of each unit, in microseconds, and of converting one element."""

    floats: list[float]
    integers: list[float]
    conversion: float


def faster_in_floats(plan: Plan, graph: Graph, float_steps: StepTimes, integer_steps: StepTimes) -> dict[str, str]:
    """Return the nodes of the plan that are faster in float32, by name, with the reason.

    Args:
        plan: what could be int8.
        graph: the float graph that the plan is of, batch norm folded.
        float_steps: times of its steps.
        integer_steps: times of the steps of the graph with all of the plan in integers.
    """
    units = _units(plan, float_steps, integer_steps)
    times = _times(units, float_steps, integer_steps, graph)
    kept = _cheapest(plan, units, times)
    return {
        node.name: _reason(times.floats[units[node.name]], times.integers[units[node.name]])
        for node in plan.kinds
        if units[node.name] in kept
    }


def _reason(floats: float, integers: float) -> str:
    shown = f"{floats:.1f} us in float32, {integers:.1f} in int8"
    return f"faster: {shown}" if floats < integers else f"converting costs more than it gains: {shown}"


def _units(plan: Plan, *steps: StepTimes) -> dict[str, int]:
    """Number the sets of nodes that share a step, by the nodes' names."""
    shared: networkx.Graph[str] = networkx.Graph()
    names = [node.name for node in plan.kinds]
    shared.add_nodes_from(names)
    for members, _ in (step for one in steps for step in one):
        shared.add_edges_from(pairwise(name for name in members if name in shared))
    for node, kind in plan.kinds.items():
        if kind is Kind.NORM:
            shared.add_edge(node.name, node.all_input_nodes[0].name)
    return {name: unit for unit, part in enumerate(networkx.connected_components(shared)) for name in part}


def _times(units: Mapping[str, int], float_steps: StepTimes, integer_steps: StepTimes, graph: Graph) -> _Times:
    floats, integers = ([0.0] * (max(units.values(), default=-1) + 1) for _ in range(2))
    sizes = {node.name: value(node).numel() for node in graph.graph.nodes if _is_tensor(node)}
    converted = elements = 0.0
    for steps, found in ((float_steps, floats), (integer_steps, integers)):
        for names, time in steps:
            unit = next((units[name] for name in names if name in units), None)
            if unit is not None:
                found[unit] += time
            elif steps is integer_steps:
                source = next((name.removesuffix("_quantize") for name in names if name.endswith("_quantize")), "")
                elements += sizes.get(source, 0)
                converted += time if source.removeprefix("copy of ") in sizes else 0.0
    return _Times(floats, integers, converted / elements if elements else 0.0)


def _is_tensor(node: Node) -> bool:
    return hasattr(node.meta.get("val"), "numel")


def _cheapest(plan: Plan, units: Mapping[str, int], times: _Times) -> set[int]:
    """Return the units on the float side of the minimum cut."""
    network: networkx.DiGraph[object] = networkx.DiGraph()
    network.add_nodes_from((_INTEGER, _FLOAT))
    for unit, (floats, integers) in enumerate(zip(times.floats, times.integers, strict=True)):
        network.add_edge(_INTEGER, unit, capacity=floats)
        network.add_edge(unit, _FLOAT, capacity=(1 - GAIN) * integers)
    helpers = count()
    layers = {units[node.name] for node, kind in plan.kinds.items() if kind is Kind.LAYER}  # dequantise as they finish
    for source in dict.fromkeys(source for node in plan.kinds for source in (node, *data(node))):
        producer: object = units.get(source.name, _FLOAT)
        sides: list[object] = [units.get(user.name, _FLOAT) for user in source.users]
        readers = set(sides) - {producer}
        cost = value(source).numel() * times.conversion
        if not readers:
            continue
        # Whatever crosses in one direction crosses once: through a helper on the side of the readers.
        after, before = f"dequantize {next(helpers)}", f"quantize {next(helpers)}"
        if producer != _FLOAT and producer not in layers:
            network.add_edge(producer, after, capacity=cost)
            network.add_edges_from(((after, reader) for reader in readers), capacity=inf)
        network.add_edges_from(((reader, before) for reader in readers), capacity=inf)
        network.add_edge(before, producer, capacity=cost)
    _, (_, floats_side) = networkx.minimum_cut(network, _INTEGER, _FLOAT)
    return {unit for unit in floats_side if isinstance(unit, int)}
