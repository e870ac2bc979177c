"""Resizing: `upsample_nearest2d` and `upsample_bilinear2d` with the size of the result and the factors, if given."""

from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape


@rule(aten.upsample_nearest2d.vec)
def nearest(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_nearest2d.vec(x, None, [2.0, 2.0]) --> upsample_nearest2d(x, [2 h, 2 w], 2.0, 2.0)"""
    factors = call.scale_factors or [None, None]
    return emit(aten.upsample_nearest2d.default, call.input, list(shape(node)[-2:]), *factors)


@rule(aten.upsample_bilinear2d.vec)
def bilinear(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_bilinear2d.vec(x, None, c, [2.0, 2.0]) --> upsample_bilinear2d(x, [2 h, 2 w], c, 2.0, 2.0)"""
    factors = call.scale_factors or [None, None]
    return emit(aten.upsample_bilinear2d.default, call.input, list(shape(node)[-2:]), call.align_corners, *factors)


@rule(aten.upsample_nearest1d.vec, aten.upsample_nearest1d.default)
def nearest1d(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_nearest1d(x) --> reshape(upsample_nearest2d(reshape(x, [n, c, 1, length])))"""
    x, factor = _row(emit, call)
    resized = emit(aten.upsample_nearest2d.default, x, [1, shape(node)[-1]], None, factor)
    return emit.reshape(resized, shape(node))


@rule(aten.upsample_linear1d.vec, aten.upsample_linear1d.default)
def linear1d(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_linear1d(x) --> reshape(upsample_bilinear2d(reshape(x, [n, c, 1, length])))"""
    x, factor = _row(emit, call)
    resized = emit(aten.upsample_bilinear2d.default, x, [1, shape(node)[-1]], call.align_corners, None, factor)
    return emit.reshape(resized, shape(node))


def _row(emit: Emitter, call: SimpleNamespace) -> tuple[Node, float | None]:
    x = call.input if hasattr(call, "input") else call.self
    factors = call.scale_factors if hasattr(call, "scale_factors") else [call.scales]
    batch, channels, length = shape(x)
    return emit.reshape(x, [batch, channels, 1, length]), (factors or [None])[0]


@rule(aten._upsample_nearest_exact2d.vec, aten._upsample_nearest_exact1d.vec)
def nearest_exact(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """nearest-exact --> index_select of each resized dimension: index floor((i + 0.5) * size / new size)"""
    x = call.input
    first = 2
    for dim in range(first, len(shape(node))):
        size, new = shape(x)[dim], shape(node)[dim]
        factor = call.scale_factors[dim - first] if call.scale_factors else new / size
        index = ((torch.arange(new, dtype=torch.float32) + 0.5) * (1 / factor)).floor().long().clamp(max=size - 1)
        if size != new:
            x = emit(aten.index_select.default, x, dim, emit.constant(index, like="nearest"))
    return x
