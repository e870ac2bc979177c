"""Several tensors into one, and one tensor rearranged: cat with views."""

from types import SimpleNamespace

from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, value


@rule(aten.cat.default, aten.concat.default, aten.concatenate.default)
def cat(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """concat([x, y], -1) --> cat([x, y], dim from 0); empty pieces are left out"""
    dim = call.dim % len(shape(node))
    pieces = [emit.cast(piece, value(node).dtype) for piece in call.tensors if 0 not in shape(piece)]
    if node.target is aten.cat.default and pieces == list(call.tensors) and len(pieces) > 1 and call.dim == dim:
        return None
    if not pieces:
        return None
    return emit(aten.cat.default, pieces, dim) if len(pieces) > 1 else pieces[0]


@rule(aten.stack.default)
def stack(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """stack([x, y], dim) --> cat([unsqueeze(x, dim), unsqueeze(y, dim)], dim)"""
    dim = call.dim % len(shape(node))
    row = [1 if place == dim else size for place, size in enumerate(shape(node))]
    return emit(aten.cat.default, [emit.reshape(piece, row) for piece in call.tensors], dim)


@rule(aten.repeat.default, aten.tile.default)
def repeat(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """repeat(x, [2, 3]) --> reshape(expand(reshape(x, [1, a, 1, b]), [2, a, 3, b]), [2 * a, 3 * b])"""
    times = list(call.repeats if hasattr(call, "repeats") else call.dims)
    sizes = list(shape(call.self))
    times = [1] * (len(sizes) - len(times)) + times
    sizes = [1] * (len(times) - len(sizes)) + sizes
    apart = emit.reshape(call.self, [part for size in sizes for part in (1, size)])
    spread = emit.expand(apart, [part for pair in zip(times, sizes, strict=True) for part in pair])
    return emit.reshape(spread, shape(node))


@rule(aten.repeat_interleave.self_int)
def repeat_interleave(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """repeat_interleave(x, 2, dim) --> reshape(expand(unsqueeze(x, dim + 1), ..., 2, ...))"""
    x = call.self if call.dim is not None else emit.reshape(call.self, [value(call.self).numel()])
    dim = (call.dim or 0) % len(shape(x))
    sizes = list(shape(x))
    apart = emit.reshape(x, [*sizes[: dim + 1], 1, *sizes[dim + 1 :]])
    return emit.reshape(emit.expand(apart, [*sizes[: dim + 1], call.repeats, *sizes[dim + 1 :]]), shape(node))


@rule(aten.roll.default)
def roll(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """roll(x, shift, dim) --> cat([x[-shift:], x[:-shift]], dim)"""
    x = call.self if call.dims else emit.reshape(call.self, [value(call.self).numel()])
    for shift, place in zip(call.shifts, call.dims or [0], strict=True):
        dim = place % len(shape(x))
        size = shape(x)[dim]
        cut = (size - shift) % size if size else 0
        if cut:
            x = emit(aten.cat.default, [emit.slice(x, dim, cut, size), emit.slice(x, dim, 0, cut)], dim)
    return emit.reshape(x, shape(node))


@rule(aten.pixel_shuffle.default)
def pixel_shuffle(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """(*, C r^2, H, W) --> (*, C, r, r, H, W) --> (*, C, H, r, W, r) --> (*, C, H r, W r)"""
    factor = call.upscale_factor
    *batch, channels, height, width = shape(call.self)
    first = len(batch)
    apart = emit.reshape(call.self, [*batch, channels // factor**2, factor, factor, height, width])
    order = [*range(first + 1), first + 3, first + 1, first + 4, first + 2]
    return emit.reshape(emit.permute(apart, order), shape(node))


@rule(aten.pixel_unshuffle.default)
def pixel_unshuffle(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """(*, C, H r, W r) --> (*, C, H, r, W, r) --> (*, C, r, r, H, W) --> (*, C r^2, H, W)"""
    factor = call.downscale_factor
    *batch, channels, height, width = shape(call.self)
    first = len(batch)
    apart = emit.reshape(call.self, [*batch, channels, height // factor, factor, width // factor, factor])
    order = [*range(first + 1), first + 2, first + 4, first + 1, first + 3]
    return emit.reshape(emit.permute(apart, order), shape(node))


@rule(aten.channel_shuffle.default, aten.native_channel_shuffle.default)
def channel_shuffle(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """(N, g k, ...) --> (N, g, k, ...) --> (N, k, g, ...) --> (N, g k, ...)"""
    batch, channels, *rest = shape(node)
    apart = emit.reshape(call.self, [batch, call.groups, channels // call.groups, *rest])
    return emit.reshape(emit.permute(apart, [0, 2, 1, *range(3, 3 + len(rest))]), shape(node))
