"""Decide what becomes int8: the plan that calibration and rewriting follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from torch.fx import Node

from prunus.passes.graph import Graph, aten, calls, is_op, only_user
from prunus.passes.layers import LINEAR
from prunus.passes.quantize.kinds import Kind, absorbs, data, kind_of
from prunus.targets import Target


@dataclass(frozen=True)
class Plan:
    """What becomes int8.

    Attributes:
        kinds: the nodes that compute in integers.
        values: the nodes whose results are int8, in the order of the graph.
        tied: groups of values that share one grid.
        joined: concatenations, whose sources share the result's grid if that costs them little.
        weight_bits: by layer.
        floats: why the other layers stay in float32.
        target: whose instructions weights should suit.
    """

    kinds: dict[Node, Kind]
    values: tuple[Node, ...]
    tied: tuple[tuple[Node, ...], ...]
    joined: tuple[Node, ...]
    weight_bits: dict[Node, int]
    floats: dict[Node, str]
    target: Target


def annotate(
    graph: Graph, target: Target, *, bits: int = 8, keep: Sequence[str] = (), leave: Mapping[str, str] | None = None
) -> Plan:
    """Decide which nodes compute in integers.

    Convolutions and linear layers with constant weights do, unless `keep` names them. What stands between two of them
    follows where it has an integer form; what leads to operators without one (softmax, layer norm, outputs) stays in
    float32, so that a value is rounded only where int8 makes something faster.

    Args:
        graph: a canonical graph, with batch norm or with batch norm folded.
        target: whose instructions weights should suit.
        bits: of weights.
        keep: patterns of layers to leave alone, by the names of their parameters or of their nodes: "head.*".
        leave: names of further nodes to leave alone, with the reason.
    """
    kinds = {node: kind for node in calls(graph) if (kind := kind_of(graph, node)) is not None}
    floats = _refused(graph, kinds, keep)
    left = {node: leave[node.name] for node in kinds if node.name in leave} if leave else {}
    floats |= {node: reason for node, reason in left.items() if kinds[node] is Kind.LAYER and node not in floats}
    for node in (*floats, *left):
        kinds.pop(node, None)
    _settle(kinds)
    values = _values(graph, kinds)
    return Plan(
        kinds,
        values,
        _tied(kinds, values),
        tuple(node for node in kinds if is_op(node, aten.cat.default)),
        {node: bits for node, kind in kinds.items() if kind is Kind.LAYER},
        floats,
        target,
    )


def _refused(graph: Graph, kinds: dict[Node, Kind], keep: Sequence[str]) -> dict[Node, str]:
    """Return the layers without an integer form, and those that `keep` names, with the reason."""
    reasons = {
        aten.conv3d.default: "three-dimensional convolutions have no integer kernel",
        aten.conv_transpose1d.default: "transposed convolutions have no integer kernel",
        aten.conv_transpose2d.input: "transposed convolutions have no integer kernel",
        aten.conv_transpose3d.input: "transposed convolutions have no integer kernel",
        aten.matmul.default: "a product of two activations has no integer kernel",
    }
    refused = {}
    for node in calls(graph):
        if node.target in reasons:
            refused[node] = reasons[node.target]
        elif is_op(node, aten.conv1d.default, aten.conv2d.default, LINEAR):
            names = (node.name, *(str(source.target) for source in node.all_input_nodes if source.op == "get_attr"))
            pattern = next((one for one in keep if any(fnmatch(name, one) for name in names)), None)
            if node not in kinds:
                refused[node] = "its weights are computed, or its numbers are not float32"
            elif pattern is not None:
                refused[node] = f"keep={pattern!r}"
    return refused


def _settle(kinds: dict[Node, Kind]) -> None:
    """Drop nodes from `kinds` until each that stays reads from and leads to integers."""
    changed = True
    while changed:
        lost = [node for node in kinds if not _stays(kinds, node)]
        for node in lost:
            del kinds[node]
        changed = bool(lost)


def _stays(kinds: dict[Node, Kind], node: Node) -> bool:
    kind, sources = kinds[node], data(node)
    if kind is Kind.LAYER:
        return True
    if kind is Kind.NORM:
        return sources[0] in kinds
    wanted = any(user in kinds for user in node.users)
    # A sum or product with what floats compute would only round that as well.
    return wanted and (kind is Kind.MOVE or all(_in_integers(kinds, source) for source in sources))


def _in_integers(kinds: dict[Node, Kind], node: Node) -> bool:
    """Tell whether integers compute a value; to move one that floats have computed does not count."""
    if kinds.get(node) is Kind.MOVE:
        return all(_in_integers(kinds, source) for source in data(node))
    return node in kinds


def _values(graph: Graph, kinds: dict[Node, Kind]) -> tuple[Node, ...]:
    """Return the nodes whose results integer operators read, without those inside of one operator."""
    wanted = {source for node in kinds for source in _read(node, kinds)}
    return tuple(node for node in graph.graph.nodes if node in wanted)


def _read(node: Node, kinds: dict[Node, Kind]) -> list[Node]:
    return [
        source
        for source in data(node)
        if not (source in kinds and only_user(source) is node and absorbs(kinds[source], kinds[node]))
    ]


def _tied(kinds: dict[Node, Kind], values: Sequence[Node]) -> tuple[tuple[Node, ...], ...]:
    """Group the values on both sides of nodes that only move numbers; the sources of a concatenation stay apart."""
    group = {node: [node] for node in values}
    for node, kind in kinds.items():
        if kind is not Kind.MOVE or node not in group or is_op(node, aten.cat.default):
            continue
        first, second = group[data(node)[0]], group[node]
        if first is not second:
            first.extend(second)
            for member in second:
                group[member] = first
    return tuple({id(members): tuple(members) for members in group.values()}.values())
