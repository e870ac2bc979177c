"""What a user sees: sets of cuts that are alike, and layers that keep their channels, with the reason."""

from collections import defaultdict
from dataclasses import dataclass

from torch.fx import Node

from prunus.passes.prune.dependencies import dependency_graph, way
from prunus.passes.prune.rules.registry import Role
from prunus.passes.prune.trace import Trace
from prunus.passes.prune.units import Axes, Unit, find_units
from prunus.passes.reasons import Reason


@dataclass(frozen=True)
class Coupled:
    """What one unit takes of one parameter.

    Attributes:
        parameter: dotted name.
        dim: the dimension that is cut.
        count: indices along it.
    """

    parameter: str
    dim: int
    count: int

    def __str__(self) -> str:
        return f"{self.parameter}[{':, ' * self.dim}{self.count}]"


@dataclass(frozen=True)
class Group:
    """Units that are alike: each takes as much of the same dimensions.

    Attributes:
        name: that of the first layer that computes the channels; a second group of it ends in "#2".
        layers: all layers that compute them.
        units: the cuts.
        coupled: what one unit takes of each parameter.
        inexact: why the rest computes something else without them, even where they are zero; None if it does not.
    """

    name: str
    layers: tuple[str, ...]
    units: tuple[Unit, ...]
    coupled: tuple[Coupled, ...]
    inexact: Reason | None


@dataclass(frozen=True)
class Protected:
    """Channels of one layer that stay.

    Attributes:
        layer: name of the layer.
        channels: how many stay.
        total: how many it has.
        reason: why.
        way: nodes from the layer's weight to the one that the reason names, where they share channels.
    """

    layer: str
    channels: int
    total: int
    reason: Reason
    way: tuple[str, ...] = ()


def find_groups(trace: Trace, axes: Axes) -> list[Group]:
    """Return all units of a graph in groups, in the order of the graph."""
    alike: dict[tuple[tuple[int, int], ...], list[Unit]] = defaultdict(list)
    for unit in find_units(trace, axes):
        alike[unit.counts].append(unit)
    names = _parameter_names(trace)
    producers = _producers(trace, axes)
    groups = []
    seen: dict[str, int] = defaultdict(int)
    for counts, units in alike.items():
        coupled = tuple(
            Coupled(names[node], dim, count)
            for axis, count in counts
            for node, _, dim in axes.places[axis]
            if node in names
        )
        computed_by = [role for axis, _ in counts for role in producers.get(axis, ())]
        layers = tuple(dict.fromkeys(layer_name(names[role.parameter]) for role in computed_by))
        name = layers[0] if layers else coupled[0].parameter
        seen[name] += 1
        inexact = next((reason for one in sorted(units[0].classes) if (reason := trace.classes.inexact(one))), None)
        groups.append(
            Group(name if seen[name] == 1 else f"{name}#{seen[name]}", layers, tuple(units), coupled, inexact)
        )
    return groups


def find_protected(trace: Trace) -> list[Protected]:
    """Return the layers with channels that stay, in the order of the graph."""
    names, dependencies = _parameter_names(trace), dependency_graph(trace)
    found: dict[str, Protected] = {}
    for role in trace.roles:
        if role.kind != "out":
            continue
        labels = trace.of(role.parameter)[role.dim]
        frozen = labels[trace.classes.frozen(labels)]
        reason = trace.classes.reason(int(frozen[0])) if len(frozen) else None
        layer = layer_name(names[role.parameter])
        if reason is not None and layer not in found:
            steps = way(dependencies, trace, int(frozen[0]), (role.parameter, 0, role.dim), reason.node)
            found[layer] = Protected(layer, len(frozen), len(labels), reason, steps)
    return list(found.values())


def layer_name(parameter: str) -> str:
    """Return the name of the layer that owns a parameter: the part before "weight"."""
    owner, _, leaf = parameter.rpartition(".")
    return owner if owner and leaf.startswith("weight") else parameter


def _parameter_names(trace: Trace) -> dict[str, str]:
    """Return the dotted name of the tensor of each `get_attr` node."""
    nodes: list[Node] = list(trace.graph.graph.nodes)
    return {node.name: str(node.target) for node in nodes if node.op == "get_attr"}


def _producers(trace: Trace, axes: Axes) -> dict[int, list[Role]]:
    """Return for each axis the layers that compute it."""
    roles: dict[int, list[Role]] = defaultdict(list)
    for role in trace.roles:
        if role.kind == "out":
            roles[axes.of[role.parameter, 0, role.dim]].append(role)
    return roles
