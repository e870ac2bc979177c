"""Operators that compute each element from the elements at its place."""

from types import SimpleNamespace

from prunus.passes.decompose import BINARY, UNARY
from prunus.passes.graph import aten, shape
from prunus.passes.prune.atoms import Dims
from prunus.passes.prune.rules.registry import Scope, rule


def broadcast(scope: Scope, operands: list[Dims], sizes: tuple[int, ...]) -> Dims:
    """Return the atoms of a result of `sizes` that `operands` are broadcast to."""
    result = []
    for place, size in enumerate(sizes, start=-len(sizes)):
        found = [dims[place] for dims in operands if len(dims) >= -place and len(dims[place]) == size]
        for other in found[1:]:
            scope.unify(found[0], other)
        result.append(found[0] if found else scope.fresh(size))
    return tuple(result)


@rule(*UNARY, *BINARY)
def elementwise(scope: Scope, call: SimpleNamespace) -> Dims:
    """Indices of all operands, broadcast, and of the result are the same."""
    return broadcast(scope, [scope.of(node) for node in scope.node.all_input_nodes], shape(scope.node))


@rule(
    aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default, aten.feature_alpha_dropout.default
)
def dropout(scope: Scope, call: SimpleNamespace) -> Dims:
    return scope.of(call.input)
