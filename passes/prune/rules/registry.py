"""The table of rules and what a rule may say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

from torch.fx import Node

from prunus.passes.graph import Graph
from prunus.passes.prune.atoms import Atoms, Dims, Labels
from prunus.passes.reasons import Reason

Kind = Literal["out", "in", "scale"]


@dataclass(frozen=True)
class Role:
    """What one dimension of a parameter is to a layer.

    Attributes:
        layer: name of the call.
        parameter: name of the `get_attr` node that it reads.
        dim: the dimension.
        kind: its outputs, its inputs (those that the layer sums over), or a factor for each channel.
        reads: for inputs, where the layer reads them: a node by name and a dimension from 0.
    """

    layer: str
    parameter: str
    dim: int
    kind: Kind
    reads: tuple[str, int] | None = None


class Scope:
    """What a rule sees of the graph, and what it can say about the node that it is called for."""

    def __init__(self, graph: Graph, atoms: Atoms) -> None:
        self.graph, self.atoms = graph, atoms
        self.node: Node
        self.dims: dict[Node, tuple[Dims, ...]] = {}  # one entry for each result of a node
        self.roles: list[Role] = []

    def of(self, node: Node) -> Dims:
        """Return the atoms of the one tensor that `node` produces."""
        (dims,) = self.dims[node]
        return dims

    def fresh(self, size: int) -> Labels:
        return self.atoms.fresh(size)

    def fixed(self, size: int, text: str) -> Labels:
        """Return new atoms that cannot go."""
        labels = self.fresh(size)
        self.freeze(labels, text)
        return labels

    def unify(self, first: Labels, second: Labels) -> None:
        self.atoms.unify(first, second)

    def split(self, labels: Labels, sizes: Sequence[int]) -> tuple[Labels, ...]:
        return self.atoms.split(labels, sizes)

    def merge(self, factors: Sequence[Labels]) -> Labels:
        return self.atoms.merge(factors)

    def freeze(self, labels: Labels, text: str) -> None:
        self.atoms.freeze(labels, Reason(self.node.name, text))

    def inexact(self, labels: Labels, text: str) -> None:
        self.atoms.mark_inexact(labels, Reason(self.node.name, text))

    def role(self, parameter: Node, dim: int, kind: Kind, reads: tuple[Node, int] | None = None) -> None:
        """Note what a dimension of a parameter is to the layer; weights that are computed have no role."""
        if parameter.op == "get_attr":
            place = (reads[0].name, reads[1] % len(self.of(reads[0]))) if reads else None
            self.roles.append(Role(self.node.name, parameter.name, dim, kind, place))


Rule = Callable[[Scope, SimpleNamespace], Dims | tuple[Dims, ...] | None]
"""Takes the arguments of a call by name and returns the atoms of its result, a tuple of them where there are several
results, or None where it cannot say: then everything that the call touches stays."""

RULES: dict[object, Rule] = {}


def rule(*targets: object) -> Callable[[Rule], Rule]:
    """Register the decorated function for operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(targets, function))
        return function

    return register
