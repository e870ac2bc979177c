"""What a graph costs, as a function of its widths: sums of products of sizes.

A multiplication of (m, k) by (k, n) costs m * k * n; without one of the k it costs m * (k - 1) * n.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import SimpleNamespace
from typing import Literal

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, calls, get_constant, value
from prunus.passes.layers import CONV, CONV_TRANSPOSE
from prunus.passes.prune.rules.recurrent import LAYERS, NETWORKS
from prunus.passes.prune.trace import Trace
from prunus.passes.prune.units import Axes

Unit = Literal["channels", "macs", "parameters", "bytes"]
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Term:
    """A coefficient times the sizes of some axes; one axis may occur twice."""

    coefficient: float
    axes: tuple[int, ...]

    def of(self, sizes: Sequence[int], changes: Mapping[int, int] | None = None) -> float:
        """Return the cost for the sizes of all axes, less the changes."""
        if not changes:
            return self.coefficient * prod(sizes[axis] for axis in self.axes)
        return self.coefficient * prod(sizes[axis] - changes.get(axis, 0) for axis in self.axes)


class Costs:
    """The cost of a graph in one unit."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self.terms = tuple(terms)
        self._on: dict[int, list[int]] = defaultdict(list)
        for number, term in enumerate(self.terms):
            for axis in set(term.axes):
                self._on[axis].append(number)

    def total(self, sizes: Sequence[int]) -> float:
        return sum(term.of(sizes) for term in self.terms)

    def saving(self, sizes: Sequence[int], counts: Mapping[int, int]) -> float:
        """Return what it saves to take `counts` indices off the axes."""
        touched = {number for axis in counts for number in self._on.get(axis, ())}
        return sum(self.terms[number].of(sizes) - self.terms[number].of(sizes, counts) for number in touched)


def costs_of(trace: Trace, axes: Axes, unit: Unit) -> Costs:
    """Return the cost of a graph.

    Args:
        trace: of the graph.
        axes: of the same trace.
        unit: "macs" counts multiplications with additions in convolutions, matrix products and recurrent layers,
            "parameters" numbers and "bytes" bytes of all tensors that the graph holds, "channels" the outputs of
            all layers with weights.
    """

    def term(coefficient: float, places: Iterable[Place]) -> Term:
        return Term(coefficient, tuple(axes.of[place] for place in places))

    if unit == "macs":
        products = [
            (node, places)
            for node in calls(trace.graph)
            if node.target in PRODUCTS
            for places in PRODUCTS[node.target](node, arguments(node))
        ]
        return Costs(term(1, places) for _, places in products)
    if unit == "channels":
        outputs = dict.fromkeys((role.parameter, 0, role.dim) for role in trace.roles if role.kind == "out")
        return Costs(
            term(1, [place]) for place in outputs if not trace.classes.frozen(trace.of(place[0])[place[2]]).all()
        )
    terms = []
    seen: set[int] = set()
    for node in trace.graph.graph.nodes:
        tensor = get_constant(trace.graph, node)
        if tensor is not None and id(tensor) not in seen and node.name in trace.dims:
            seen.add(id(tensor))
            each = tensor.element_size() if unit == "bytes" else 1
            terms.append(term(each, ((node.name, 0, dim) for dim in range(tensor.dim()))))
    return Costs(terms)


def _all(node: Node, result: int = 0) -> list[Place]:
    described = node.meta["val"]
    rank = value(node).dim() if not isinstance(described, tuple | list) else described[result].dim()
    return [(node.name, result, dim) for dim in range(rank)]


def _convolution(node: Node, call: SimpleNamespace) -> list[list[Place]]:
    return [[*_all(node), *_all(call.weight)[1:]]]


def _transposed(node: Node, call: SimpleNamespace) -> list[list[Place]]:
    return [[*_all(call.input), *_all(call.weight)[1:]]]


def _linear(node: Node, call: SimpleNamespace) -> list[list[Place]]:
    return [[*_all(node), _all(call.weight)[1]]]


def _matmul(node: Node, call: SimpleNamespace) -> list[list[Place]]:
    return [[*_all(node), _all(call.self)[-1]]]


def _recurrent(node: Node, call: SimpleNamespace) -> list[list[Place]]:
    steps = _all(call.input)[:2]
    return [[*steps, *_all(weight)] for weight in call.params if value(weight).dim() == 2]


def _recurrent_layer(node: Node, call: SimpleNamespace) -> list[list[Place]]:
    return [[*_all(call.gates)[:2], *_all(call.weight)]]


PRODUCTS: dict[object, Callable[[Node, SimpleNamespace], list[list[Place]]]] = {
    **dict.fromkeys(CONV, _convolution),
    **dict.fromkeys(CONV_TRANSPOSE, _transposed),
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    **dict.fromkeys(NETWORKS, _recurrent),
    **dict.fromkeys(LAYERS, _recurrent_layer),
}
