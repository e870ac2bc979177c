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


@rule(
    aten.upsample_bicubic2d.vec,
    aten.upsample_bicubic2d.default,
    aten._upsample_bicubic2d_aa.vec,
    aten._upsample_bicubic2d_aa.default,
    aten._upsample_bilinear2d_aa.vec,
    aten._upsample_bilinear2d_aa.default,
)
def as_products(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_bicubic2d(x) --> matmul(rows, linear(x, columns)): resizing is linear, one dimension at a time"""
    x = call.input if hasattr(call, "input") else call.self
    factors = _factors(call)
    height, width = shape(node)[-2:]
    columns = _matrix(node, call, shape(x)[-1], width, factors[1])
    wide = emit(aten.linear.default, x, emit.constant(columns, like=f"{node.name}.columns"))
    rows = emit.constant(_matrix(node, call, shape(x)[-2], height, factors[0]), like=f"{node.name}.rows")
    return emit(aten.matmul.default, rows, wide)


def _factors(call: SimpleNamespace) -> list[float | None]:
    if hasattr(call, "scale_factors"):
        return list(call.scale_factors or [None, None])
    return [call.scales_h, call.scales_w]


def _matrix(node: Node, call: SimpleNamespace, size: int, new: int, factor: float | None) -> torch.Tensor:
    """Return what resizing one dimension does as a matrix of shape (new, size): its effect on each unit vector."""
    assert isinstance(node.target, torch._ops.OpOverload)
    units = torch.eye(size).reshape(size, 1, size, 1).repeat(1, 1, 1, 2)
    target = node.target.overloadpacket.default
    return target(units, [new, 2], call.align_corners, factor, None)[:, 0, :, 0].T.contiguous()
