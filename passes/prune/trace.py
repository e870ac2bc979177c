"""Ask every operator's rule which indices go together, and collect the answers."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch.fx import Node

from prunus.errors import PruneError, did_you_mean
from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, get_constant, outputs
from prunus.passes.prune.atoms import Atoms, Classes, Dims
from prunus.passes.prune.rules import RULES, Scope
from prunus.passes.prune.rules.registry import Role
from prunus.passes.reasons import Reason


@dataclass(frozen=True)
class Trace:
    """What goes together in one graph.

    Attributes:
        graph: the graph.
        dims: by name of a node the class of each index of each dimension, for each of its results.
        classes: the classes; a cut graph has those that are left, under the same numbers.
        roles: what dimensions of parameters are to the layers that read them.
    """

    graph: Graph
    dims: dict[str, tuple[Dims, ...]]
    classes: Classes
    roles: tuple[Role, ...]

    def of(self, node: Node | str) -> Dims:
        """Return the classes of the one tensor that `node` produces."""
        (dims,) = self.dims[node if isinstance(node, str) else node.name]
        return dims


def trace(graph: Graph, *, keep: Sequence[str] = ()) -> Trace:
    """Run the rules over a canonical graph.

    Args:
        graph: after the canonical passes.
        keep: patterns (`fnmatch`) of parameters or nodes; what these layers return keeps all its channels.

    Raises:
        PruneError: a pattern that matches nothing.
    """
    atoms = Atoms()
    scope = Scope(graph, atoms)
    shared: dict[int, tuple[Dims, ...]] = {}  # by identity of the tensor
    for node in graph.graph.nodes:
        scope.node = node
        if node.op == "get_attr":
            key = id(get_constant(graph, node))
            if key not in shared:
                shared[key] = _fresh(scope, node)
            scope.dims[node] = shared[key]
        elif node.op == "placeholder":
            scope.dims[node] = _fresh(scope, node)
            _freeze_all(scope, node, "it is an input of the model")
        elif node.target is operator.getitem:
            scope.dims[node] = (scope.dims[node.args[0]][node.args[1]],)
        elif node.op == "call_function":
            scope.dims[node] = _apply_rule(scope, node)
    for node in outputs(graph):
        scope.node = node
        _freeze_all(scope, node, "it is an output of the model")
    for node in _kept(graph, keep):
        scope.node = node
        _freeze_all(scope, node, f"keep={list(keep)}")
    for node, results in scope.dims.items():
        for labels in (labels for dims in results for labels in dims if len(labels) == 1):
            atoms.freeze(labels, Reason(node.name, "there is only one"))
    classes = atoms.resolve()
    named = {
        node.name: tuple(tuple(classes.of(labels) for labels in dims) for dims in results)
        for node, results in scope.dims.items()
    }
    return Trace(graph, named, classes, tuple(dict.fromkeys(scope.roles)))


def _results(node: Node) -> tuple[torch.Tensor, ...]:
    described = node.meta["val"]
    return tuple(described) if isinstance(described, tuple | list) else (described,)


def _fresh(scope: Scope, node: Node) -> tuple[Dims, ...]:
    return tuple(tuple(scope.fresh(int(size)) for size in result.shape) for result in _results(node))


def _freeze_all(scope: Scope, node: Node, text: str) -> None:
    for dims in scope.dims[node]:
        for labels in dims:
            scope.freeze(labels, text)


def _apply_rule(scope: Scope, node: Node) -> tuple[Dims, ...]:
    """Return the atoms of what a call returns; without a rule, everything that it touches stays as it is."""
    rule = RULES.get(node.target)
    found = rule(scope, arguments(node)) if rule else None
    if found is None:
        text = f"there is no rule for {node.target}" if rule is None else f"this form of {node.target} has no rule"
        for source in node.all_input_nodes:
            for dims in scope.dims[source]:
                for labels in dims:
                    scope.freeze(labels, text)
        scope.dims[node] = _fresh(scope, node)
        _freeze_all(scope, node, text)
        return scope.dims[node]
    results = found if found and isinstance(found[0], tuple) else (found,)
    _check_sizes(node, results)  # type: ignore[arg-type]
    return results  # type: ignore[return-value]


def _check_sizes(node: Node, results: tuple[Dims, ...]) -> None:
    expected = [tuple(int(size) for size in result.shape) for result in _results(node)]
    found = [tuple(map(len, dims)) for dims in results]
    assert found == expected, f"the pruning rule of {node.target} gives {node.name} the shapes {found}, not {expected}"


def _kept(graph: Graph, keep: Sequence[str]) -> list[Node]:
    """Return the calls that a pattern matches by their name or by that of a parameter they read."""
    found: list[Node] = []
    names = {
        node: {node.name, *(str(source.target) for source in node.all_input_nodes if source.op == "get_attr")}
        for node in graph.graph.nodes
        if node.op == "call_function"
    }
    for pattern in keep:
        matched = [node for node, known in names.items() if any(fnmatchcase(name, pattern) for name in known)]
        if not matched:
            every = {name for known in names.values() for name in known}
            raise PruneError(
                f"keep={pattern!r} matches no layer", expected="a pattern of parameter or node names, 'head.*'",
                do=did_you_mean(pattern, every),
            )  # fmt: skip
        found += matched
    return found
