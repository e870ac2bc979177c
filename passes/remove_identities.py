"""Take out calls that return what they read."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments, per_dim
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, shape, tidy, value

Check = Callable[[Graph, SimpleNamespace], Any]


def remove_identities(graph: Graph) -> Graph:
    """Remove calls that change nothing; a reduction of dimensions of size 1 becomes a reshape.

    before:  x -> + 0 -> * 1 -> reshape(same sizes) -> _to_copy(same dtype) -> constant_pad_nd(0) -> y
    after:   x -> y
    """
    for node in calls(graph):
        check = CHECKS.get(node.target)
        source = check(graph, arguments(node)) if check else None
        if isinstance(source, Node) and _describe(source) == _describe(node):
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
        elif is_op(node, aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default):
            _remove_reduction(graph, node)
    return tidy(graph)


def _describe(node: Node) -> tuple[tuple[int, ...], torch.dtype]:
    return shape(node), value(node).dtype


def _same(graph: Graph, call: SimpleNamespace) -> Any:
    """The input; whether shape and dtype are kept is all there is to check."""
    return next(iter(vars(call).values()))


def _add(graph: Graph, call: SimpleNamespace) -> Any:
    if call.alpha == 1 and _is_all(graph, call.self, 0):
        return call.other
    return call.self if _is_all(graph, call.other, 0) else None


def _sub(graph: Graph, call: SimpleNamespace) -> Any:
    return call.self if _is_all(graph, call.other, 0) else None


def _mul(graph: Graph, call: SimpleNamespace) -> Any:
    if _is_all(graph, call.self, 1):
        return call.other
    return call.self if _is_all(graph, call.other, 1) else None


def _div(graph: Graph, call: SimpleNamespace) -> Any:
    return call.self if _is_all(graph, call.other, 1) else None


def _permute(graph: Graph, call: SimpleNamespace) -> Any:
    return call.self if [dim % len(call.dims) for dim in call.dims] == list(range(len(call.dims))) else None


def _transpose(graph: Graph, call: SimpleNamespace) -> Any:
    rank = len(shape(call.self))
    return call.self if call.dim0 % rank == call.dim1 % rank else None


def _pad(graph: Graph, call: SimpleNamespace) -> Any:
    return call.self if not any(call.pad) else None


def _slice(graph: Graph, call: SimpleNamespace) -> Any:
    return call.self if call.step == 1 else None


def _clamp(graph: Graph, call: SimpleNamespace) -> Any:
    return call.self if call.min in (None, -math.inf) and call.max in (None, math.inf) else None


def _relu(graph: Graph, call: SimpleNamespace) -> Any:
    low = arguments(call.self).min if is_op(call.self, aten.clamp.default) else None
    positive = is_op(call.self, aten.relu.default, aten.sigmoid.default, aten.hardsigmoid.default)
    return call.self if positive or (isinstance(low, float | int) and low >= 0) else None


def _pool(graph: Graph, call: SimpleNamespace) -> Any:
    """Windows of one element, nothing padded."""
    whole = set(per_dim(call.kernel_size, 1)) == {1} and not any(per_dim(call.padding, 1))
    return call.self if whole and getattr(call, "divisor_override", None) is None else None


def _cat(graph: Graph, call: SimpleNamespace) -> Any:
    return call.tensors[0] if len(call.tensors) == 1 else None


def _is_all(graph: Graph, operand: Any, number: float) -> bool:
    """Tell whether an operand is the number, or a constant that holds nothing else."""
    if not isinstance(operand, Node):
        return bool(operand == number)
    tensor = get_constant(graph, operand)
    return tensor is not None and not tensor.requires_grad and bool((tensor == number).all())


def _remove_reduction(graph: Graph, node: Node) -> None:
    x, dims = node.args[:2]
    assert isinstance(x, Node)
    assert isinstance(dims, list)
    if value(x).dtype == value(node).dtype and all(shape(x)[dim] == 1 for dim in dims):
        replace(node, Emitter(graph, node).reshape(x, shape(node)))


CHECKS: dict[object, Check] = {
    aten.add.Tensor: _add,
    aten.sub.Tensor: _sub,
    aten.mul.Tensor: _mul,
    aten.div.Tensor: _div,
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    aten.slice.Tensor: _slice,
    aten.constant_pad_nd.default: _pad,
    aten.clamp.default: _clamp,
    aten.relu.default: _relu,
    aten.cat.default: _cat,
    aten.max_pool2d.default: _pool,
    aten.avg_pool2d.default: _pool,
    **dict.fromkeys(
        (
            aten.reshape.default,
            aten.view.default,
            aten.flatten.using_ints,
            aten.expand.default,
            aten.clone.default,
            aten.contiguous.default,
            aten.alias.default,
            aten.detach.default,
            aten._to_copy.default,
            aten.to.dtype,
            aten.lift_fresh_copy.default,
        ),
        _same,
    ),
}
