"""Reductions: dimensions from 0, sorted, always written; variance and norms in terms of sums and means."""

import math
from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, value
from prunus.passes.reasons import no


def reduced_dims(x: Node, dim: int | list[int] | None) -> list[int]:
    """Return the dimensions that a reduction runs over; None and [] mean all."""
    rank = len(shape(x))
    if dim is None or dim == []:
        return list(range(rank))
    return sorted(place % rank for place in ([dim] if isinstance(dim, int) else dim)) if rank else []


@rule(aten.sum.default, aten.sum.dim_IntList, aten.mean.default, aten.mean.dim)
def sum_or_mean(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """mean(x, -1) --> mean(x, [last], False)"""
    target = aten.mean.dim if node.target in (aten.mean.default, aten.mean.dim) else aten.sum.dim_IntList
    dims = reduced_dims(call.self, getattr(call, "dim", None))
    if not dims:
        return emit.cast(call.self, value(node).dtype)
    wanted = (emit.cast(call.self, value(node).dtype), dims, getattr(call, "keepdim", False))
    return None if node.target is target and node.args == wanted and not node.kwargs else emit(target, *wanted)


@rule(aten.amax.default, aten.amin.default, aten.max.default, aten.min.default)
def extreme(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """max(x) --> amax(x, all dimensions, False)"""
    target = aten.amax.default if node.target in (aten.amax.default, aten.max.default) else aten.amin.default
    dims = reduced_dims(call.self, getattr(call, "dim", None))
    if not dims:
        return call.self
    wanted = (call.self, dims, getattr(call, "keepdim", False))
    return None if node.args == wanted else emit(target, *wanted)


@rule(aten.max.dim, aten.min.dim)
def extreme_and_place(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...]:
    """max(x, dim) --> amax(x, [dim]), argmax(x, dim)"""
    largest = node.target is aten.max.dim
    most, place = (aten.amax.default, aten.argmax.default) if largest else (aten.amin.default, aten.argmin.default)
    return emit(most, call.self, [call.dim], call.keepdim), emit(place, call.self, call.dim, call.keepdim)


@rule(aten.argmax.default, aten.argmin.default)
def place_of_extreme(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """argmax(x, -1) --> argmax(x, last, False); without a dimension, of reshape(x, [n])"""
    assert isinstance(node.target, torch._ops.OpOverload)
    if call.dim is None:
        flat = emit.reshape(call.self, [value(call.self).numel()])
        return emit.reshape(emit(node.target, flat, 0, False), shape(node))
    wanted = (call.self, call.dim % max(len(shape(call.self)), 1), call.keepdim)
    return None if node.args == wanted else emit(node.target, *wanted)


@rule(aten.any.default, aten.any.dim, aten.any.dims, aten.all.default, aten.all.dim, aten.all.dims)
def any_or_all(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """any(x, dim) --> amax(x as int32, dim) as bool"""
    target = aten.amax.default if "any" in str(node.target) else aten.amin.default
    truth = emit(aten.ne.Scalar, call.self, 0) if value(call.self).dtype != torch.bool else call.self
    dims = reduced_dims(call.self, getattr(call, "dim", None))
    reduced = emit(target, emit.cast(truth, torch.int32), dims, getattr(call, "keepdim", False))
    return emit.cast(reduced, torch.bool)


@rule(aten.prod.default, aten.prod.dim_int)
def product(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """prod(x) --> prod(reshape(x, [n]), 0, False)"""
    x = emit.cast(call.self, value(node).dtype)
    if node.target is aten.prod.default:
        return emit(aten.prod.dim_int, emit.reshape(x, [value(x).numel()]), 0, False)
    wanted = (x, call.dim % max(len(shape(x)), 1), call.keepdim)
    return None if node.args == wanted and not node.kwargs else emit(aten.prod.dim_int, *wanted)


@rule(aten.var.default, aten.var.dim, aten.var.correction)
def variance(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """var(x) --> mean((x - mean(x))^2) * n / (n - correction)"""
    return _variance(emit, call)[0]


@rule(aten.std.default, aten.std.dim, aten.std.correction)
def standard_deviation(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """std(x) --> sqrt(var(x))"""
    return emit(aten.sqrt.default, _variance(emit, call)[0])


@rule(aten.var_mean.default, aten.var_mean.dim, aten.var_mean.correction)
def variance_and_mean(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...]:
    """var_mean(x) --> var(x), mean(x)"""
    return _variance(emit, call)


@rule(aten.std_mean.default, aten.std_mean.dim, aten.std_mean.correction)
def deviation_and_mean(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...]:
    """std_mean(x) --> sqrt(var(x)), mean(x)"""
    spread, mean = _variance(emit, call)
    return emit(aten.sqrt.default, spread), mean


def _variance(emit: Emitter, call: SimpleNamespace) -> tuple[Node, Node]:
    dims = reduced_dims(call.self, getattr(call, "dim", None))
    keepdim = getattr(call, "keepdim", False)
    given = getattr(call, "correction", int(getattr(call, "unbiased", True)))
    correction = 1 if given is None else given
    count = math.prod(shape(call.self)[dim] for dim in dims)
    mean = emit(aten.mean.dim, call.self, dims, True)
    centred = emit(aten.sub.Tensor, call.self, mean)
    spread = emit(aten.mean.dim, emit(aten.mul.Tensor, centred, centred), dims, keepdim)
    if correction != 0:
        spread = emit(aten.mul.Tensor, spread, count / (count - correction) if count > correction else math.nan)
    return spread, mean if keepdim else emit.reshape(mean, shape(spread))


@rule(aten.linalg_vector_norm.default)
def vector_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """linalg_vector_norm(x, 2, dim) --> sqrt(sum(x * x, dim)); 1 and infinity likewise"""
    x = emit.cast(call.self, value(node).dtype)
    dims = reduced_dims(x, call.dim)
    if call.ord == 2:
        return emit(aten.sqrt.default, emit(aten.sum.dim_IntList, emit(aten.mul.Tensor, x, x), dims, call.keepdim))
    if call.ord == 1:
        return emit(aten.sum.dim_IntList, emit(aten.abs.default, x), dims, call.keepdim)
    if math.isinf(call.ord):
        target = aten.amax.default if call.ord > 0 else aten.amin.default
        return emit(target, emit(aten.abs.default, x), dims, call.keepdim)
    no(f"there is no rule for the norm of order {call.ord}", node)
    return None


@rule(aten.softmax.int, aten._softmax.default, aten.log_softmax.int, aten._log_softmax.default)
def softmax(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """_softmax(x, -1, False) --> softmax(x, last)"""
    logarithm = node.target in (aten.log_softmax.int, aten._log_softmax.default)
    x = emit.cast(call.self, value(node).dtype)
    wanted = (x, call.dim % max(len(shape(x)), 1))
    target = aten.log_softmax.int if logarithm else aten.softmax.int
    return None if node.target is target and node.args == wanted and not node.kwargs else emit(target, *wanted)


@rule(aten.logsumexp.default)
def logsumexp(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """logsumexp(x, dim) --> m + log(sum(exp(x - m), dim)),   m = amax(x, dim)"""
    dims = reduced_dims(call.self, call.dim)
    largest = emit(aten.amax.default, call.self, dims, True)
    powers = emit(aten.exp.default, emit(aten.sub.Tensor, call.self, largest))
    summed = emit(aten.log.default, emit(aten.sum.dim_IntList, powers, dims, call.keepdim))
    return emit(aten.add.Tensor, summed, emit.reshape(largest, shape(summed)))
