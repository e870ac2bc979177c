"""Operators that move elements."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from prunus.passes.graph import aten, get_constant, shape
from prunus.passes.prune.atoms import Dims, Labels
from prunus.passes.prune.rules.registry import Scope, rule


@rule(aten.reshape.default)
def reshape(scope: Scope, call: SimpleNamespace) -> Dims:
    """Both shapes are read as products of common factors: (6, 4) and (3, 8) as 3 * 2 * 4.

    Where there are none, as for (6, 4) and (4, 6), what is joined stays as it is.
    """
    before, after = scope.of(call.self), shape(scope.node)
    if 0 in after:
        return _rigid(scope, before, after)
    old, new = _boundaries(tuple(map(len, before))), _boundaries(after)
    cuts = sorted({*old, *new})
    shared = sorted({*old} & {*new})
    factors: dict[int, Labels] = {}  # by the boundary below
    for low, high in pairwise(shared):
        inside = [cut for cut in cuts if low <= cut <= high]
        if any(above % below for below, above in pairwise(inside)):
            inside = [low]
        for dim, labels in enumerate(before):
            below, above = old[dim + 1], old[dim]
            if not (low <= below and above <= high) or below == above:
                continue
            if inside == [low]:
                scope.freeze(labels, f"it reads {tuple(map(len, before))} as {after}, which have no common factors")
                continue
            steps = [cut for cut in inside if below <= cut <= above]
            sizes = [upper // lower for lower, upper in pairwise(steps)]
            parts = scope.split(labels, sizes[::-1])
            factors.update(zip(steps[:-1], parts[::-1], strict=True))
    result = []
    for dim, size in enumerate(after):
        below, above = new[dim + 1], new[dim]
        steps = [cut for cut in cuts if below <= cut < above]
        if all(step in factors for step in steps):
            result.append(scope.merge([factors[step] for step in steps[::-1]]))
        else:
            result.append(scope.fixed(size, "it joins elements across dimensions"))
    return tuple(result)


def _rigid(scope: Scope, before: Dims, after: tuple[int, ...]) -> Dims:
    for labels in before:
        scope.freeze(labels, "it moves elements across dimensions")
    return tuple(scope.fixed(size, "it moves elements across dimensions") for size in after)


def _boundaries(sizes: tuple[int, ...]) -> list[int]:
    """Return the elements from each dimension to the end, and 1."""
    return [int(np.prod(sizes[place:], dtype=np.int64)) for place in range(len(sizes))] + [1]


@rule(aten.permute.default)
def permute(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = scope.of(call.self)
    return tuple(dims[dim] for dim in call.dims)


@rule(aten.expand.default)
def expand(scope: Scope, call: SimpleNamespace) -> Dims:
    dims, sizes = scope.of(call.self), shape(scope.node)
    padded = (None,) * (len(sizes) - len(dims)) + dims
    return tuple(
        labels if labels is not None and len(labels) == size else scope.fresh(size)
        for labels, size in zip(padded, sizes, strict=True)
    )


@rule(aten.slice.Tensor)
def slice_(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = list(scope.of(call.self))
    if call.step != 1:
        scope.freeze(dims[call.dim], f"it takes one in {call.step}")
    dims[call.dim] = dims[call.dim][call.start : call.end : call.step]
    return tuple(dims)


@rule(aten.select.int)
def select(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = list(scope.of(call.self))
    labels = dims.pop(call.dim % len(dims))
    scope.freeze(labels[[call.index]], "it selects this one")
    return tuple(dims)


@rule(aten.cat.default)
def cat(scope: Scope, call: SimpleNamespace) -> Dims:
    parts = [scope.of(node) for node in call.tensors]
    dim = call.dim % len(parts[0])
    for part in parts[1:]:
        for place, (first, other) in enumerate(zip(parts[0], part, strict=True)):
            if place != dim:
                scope.unify(first, other)
    joined = np.concatenate([part[dim] for part in parts])
    return (*parts[0][:dim], joined, *parts[0][dim + 1 :])


@rule(aten.constant_pad_nd.default)
def pad(scope: Scope, call: SimpleNamespace) -> Dims:
    """What is added may go again with what it is added to."""
    dims = list(scope.of(call.self))
    for place, (low, high) in enumerate(zip(call.pad[::2], call.pad[1::2], strict=True), start=1):
        labels = dims[-place][max(-low, 0) : len(dims[-place]) - max(-high, 0)]
        dims[-place] = np.concatenate([scope.fresh(max(low, 0)), labels, scope.fresh(max(high, 0))])
    return tuple(dims)


@rule(aten.flip.default)
def flip(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = scope.of(call.self)
    flipped = {dim % len(dims) for dim in call.dims}
    return tuple(labels[::-1] if place in flipped else labels for place, labels in enumerate(dims))


@rule(aten.index_select.default)
def index_select(scope: Scope, call: SimpleNamespace) -> Dims:
    dims = list(scope.of(call.self))
    index = get_constant(scope.graph, call.index)
    if index is None:
        scope.freeze(dims[call.dim], "it reads places that are computed")
        dims[call.dim] = scope.fixed(shape(scope.node)[call.dim], "it reads places that are computed")
    else:
        dims[call.dim] = dims[call.dim][index.reshape(-1).numpy()]
    for labels in scope.of(call.index):
        scope.freeze(labels, "it says where elements come from")
    return tuple(dims)
