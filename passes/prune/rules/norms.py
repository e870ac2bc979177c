"""Normalisations."""

from types import SimpleNamespace

from prunus.passes.graph import aten
from prunus.passes.prune.atoms import Dims
from prunus.passes.prune.rules.registry import Scope, rule

_STATISTICS = "its statistics are taken over what is left"


@rule(aten.batch_norm.default)
def batch_norm(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = scope.of(call.input)
    for vector in (call.weight, call.bias, call.running_mean, call.running_var):
        if vector is not None:
            scope.unify(scope.of(vector)[0], dims[1])
    if call.weight is not None:
        scope.role(call.weight, 0, "scale")
    return dims


@rule(aten.layer_norm.default, aten.rms_norm.default)
def row_norm(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = scope.of(call.input)
    rows = dims[-len(call.normalized_shape) :]
    for vector in (call.weight, getattr(call, "bias", None)):
        if vector is not None:
            for labels, row in zip(scope.of(vector), rows, strict=True):
                scope.unify(labels, row)
    for row in rows:
        scope.inexact(row, _STATISTICS)
    return dims


@rule(aten.group_norm.default)
def group_norm(scope: Scope, call: SimpleNamespace) -> Dims:
    """Channels are (groups, each): a whole group goes unnoticed, a channel of every group changes the statistics."""
    dims = scope.of(call.input)
    _, each = scope.split(dims[1], (call.num_groups, len(dims[1]) // call.num_groups))
    scope.inexact(each, _STATISTICS)
    for vector in (call.weight, call.bias):
        if vector is not None:
            scope.unify(scope.of(vector)[0], dims[1])
    for labels in dims[2:]:
        scope.freeze(labels, "it takes means over this dimension")
    return dims
