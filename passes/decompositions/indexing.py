"""Picking elements: `index_select`, `gather` and `embedding` are all that stays."""

import math
from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, get_constant, shape, value
from prunus.passes.reasons import no


@rule(aten.index.Tensor)
def index(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """x[:, i, j] --> index_select(reshape(x, [a, b * c]), 1, i * c + j), where the indexed dimensions stand together"""
    places = [dim for dim, source in enumerate(call.indices) if source is not None]
    sources = [source for source in call.indices if source is not None]
    if any(not isinstance(source, Node) or value(source).dtype in (torch.bool, torch.uint8) for source in sources):
        no("a mask decides how many elements it returns", node)
        return None
    if places != list(range(places[0], places[-1] + 1)):
        no("it indexes dimensions that do not stand together", node)
        return None
    first, after = places[0], places[-1] + 1
    sizes = list(shape(call.self))
    flat = _positive(emit, sources[0], sizes[first])
    for source, dim in zip(sources[1:], places[1:], strict=True):
        row = emit(aten.mul.Tensor, flat, sizes[dim])
        flat = emit(aten.add.Tensor, row, _positive(emit, source, sizes[dim]))
    merged = emit.reshape(call.self, [*sizes[:first], math.prod(sizes[first:after]), *sizes[after:]])
    picked = emit(aten.index_select.default, merged, first, emit.reshape(flat, [value(flat).numel()]))
    return emit.reshape(picked, shape(node))


def _positive(emit: Emitter, source: Node, size: int) -> Node:
    """Let indices that count from the end count from the start."""
    constant = get_constant(emit.graph, source)
    if constant is not None:
        if bool((constant >= 0).all()):
            return emit.cast(source, torch.int64)
        return emit.constant(torch.where(constant < 0, constant + size, constant).long(), like=f"{source.name}_from_0")
    source = emit.cast(source, torch.int64)
    negative = emit(aten.lt.Scalar, source, 0)
    return emit(aten.where.self, negative, emit(aten.add.Tensor, source, size), source)


@rule(aten.index_select.default)
def index_select(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """index_select(x, -1, i) --> index_select(x, dim from 0, i); one constant index selects"""
    if not shape(node):
        return emit.reshape(call.self, [])
    dim = call.dim % len(shape(node))
    constant = get_constant(emit.graph, call.index)
    if constant is not None and constant.numel() == 1:
        return emit.slice(call.self, dim, int(constant), int(constant) + 1)
    return None if dim == call.dim else emit(aten.index_select.default, call.self, dim, call.index)


@rule(aten.gather.default, aten.take_along_dim.default)
def gather(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """gather(x, -1, i) --> gather(x, dim from 0, i)"""
    if node.target is aten.take_along_dim.default:
        if call.dim is None:
            flat = emit.reshape(call.self, [value(call.self).numel()])
            return emit(aten.gather.default, flat, 0, emit.reshape(call.indices, [value(call.indices).numel()]))
        dim = call.dim % len(shape(node))
        sizes = list(shape(node))
        sizes[dim] = shape(call.self)[dim]
        return emit(aten.gather.default, emit.expand(call.self, sizes), dim, emit.expand(call.indices, shape(node)))
    dim = call.dim % max(len(shape(node)), 1)
    return None if dim == call.dim else emit(aten.gather.default, call.self, dim, call.index)


@rule(aten.embedding.default)
def embedding(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """embedding(W, i, padding_idx) --> embedding(W, i): padding only matters to training"""
    return None if len(node.args) == 2 and not node.kwargs else emit(aten.embedding.default, call.weight, call.indices)


@rule(aten.one_hot.default)
def one_hot(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """one_hot(i, n) --> i == [0, 1, ..., n - 1]"""
    classes = emit.constant(torch.arange(shape(node)[-1]), like="classes")
    return emit.cast(emit(aten.eq.Tensor, emit.reshape(call.self, [*shape(call.self), 1]), classes), value(node).dtype)
