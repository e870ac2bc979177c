"""Operators that reduce a dimension, or that run along one."""

from types import SimpleNamespace

from prunus.passes.graph import aten, shape
from prunus.passes.prune.atoms import Dims
from prunus.passes.prune.rules.registry import Scope, rule


@rule(aten.sum.dim_IntList)
def sum_(scope: Scope, call: SimpleNamespace) -> Dims:
    """What is missing in a sum counts as zero."""
    return _reduce(scope, call, call.dim)


@rule(aten.mean.dim, aten.amax.default, aten.amin.default, aten.prod.dim_int, aten.argmax.default, aten.argmin.default)
def reduction(scope: Scope, call: SimpleNamespace) -> Dims:
    """What is reduced stays: a zero would count in a mean, in an extreme value and in a product."""
    dims = scope.of(call.self)
    for dim in _listed(call.dim, len(dims)):
        scope.freeze(dims[dim], "it reduces this dimension")
    return _reduce(scope, call, call.dim)


def _reduce(scope: Scope, call: SimpleNamespace, dim: object) -> Dims:
    dims = scope.of(call.self)
    reduced = _listed(dim, len(dims))
    if call.keepdim:
        return tuple(scope.fresh(1) if place in reduced else labels for place, labels in enumerate(dims))
    return tuple(labels for place, labels in enumerate(dims) if place not in reduced)


def _listed(dim: object, rank: int) -> set[int]:
    if dim is None or dim == []:
        return set(range(rank))
    return {place % rank for place in (dim if isinstance(dim, list | tuple) else [dim])}  # type: ignore[operator]


@rule(aten.softmax.int, aten.log_softmax.int, aten.cumsum.default)
def along(scope: Scope, call: SimpleNamespace) -> Dims:
    """Every element depends on all along `dim`."""
    dims = scope.of(call.self)
    if dims:
        scope.freeze(dims[call.dim], "every element depends on all along this dimension")
    return dims


@rule(aten.gather.default)
def gather(scope: Scope, call: SimpleNamespace) -> Dims:
    """Where elements come from is known only when the graph runs."""
    for labels in (*scope.of(call.self), *scope.of(call.index)):
        scope.freeze(labels, "it reads places that are computed")
    return tuple(scope.fixed(size, "it reads places that are computed") for size in shape(scope.node))
