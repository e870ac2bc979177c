"""Everything that only renames elements: reshape, permute, slice, select and expand are all that stays."""

from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, value


@rule(
    aten.reshape.default,
    aten.view.default,
    aten._unsafe_view.default,
    aten._reshape_alias.default,
    aten.reshape_as.default,
    aten.view_as.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.ravel.default,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.atleast_1d.default,
    aten.atleast_2d.default,
)
def reshape(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """unsqueeze(x, 1) --> reshape(x, sizes of the result)"""
    if node.target is aten.reshape.default and list(call.shape) == list(shape(node)):
        return None
    return emit.reshape(call.self, shape(node))


@rule(
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.numpy_T.default,
    aten.mT.default,
    aten.swapaxes.default,
    aten.swapdims.default,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.moveaxis.int,
    aten.moveaxis.intlist,
)
def permute(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """transpose(x, 1, 2) --> permute(x, [0, 2, 1])"""
    dims = permutation(node)
    if node.target is aten.permute.default and list(call.dims) == dims:
        return None
    return emit.permute(call.self, dims)


def permutation(node: Node) -> list[int]:
    """Return the order of dimensions that a permute-like call asks for: strides of an example tell it."""
    source = node.args[0]
    assert isinstance(source, Node)
    assert isinstance(node.target, torch._ops.OpOverload)
    example = torch.empty([2] * len(shape(source)), device="meta")
    moved = node.target(example, *node.args[1:], **node.kwargs)
    return [example.stride().index(stride) for stride in moved.stride()]


@rule(aten.slice.Tensor, aten.narrow.default)
def cut(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """slice(x, -1, 2, None) --> slice(x, 1, 2, size, 1)"""
    dim = call.dim % len(shape(node))
    size = shape(call.self)[dim]
    if node.target is aten.narrow.default:
        start = call.start % size if size else 0
        return emit.slice(call.self, dim, start, start + call.length)
    start, end, step = slice(call.start, call.end, call.step).indices(size)
    if node.args[1:] == (dim, start, end, step):
        return None
    return emit.slice(call.self, dim, start, max(start, end), step)


@rule(aten.select.int)
def select(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """select(x, -1, -1) --> select(x, 1, size - 1)"""
    if call.dim >= 0 and call.index >= 0:
        return None
    return emit.select(call.self, call.dim, call.index)


@rule(aten.expand.default, aten.expand_as.default, aten.broadcast_to.default)
def expand(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """expand(x, [-1, 4]) --> expand(x, sizes of the result)"""
    if node.target is aten.expand.default and list(call.size) == list(shape(node)):
        return None
    return emit.expand(call.self, shape(node))


@rule(
    aten.alias.default,
    aten.detach.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.lift.default,
    aten.lift_fresh.default,
    aten.lift_fresh_copy.default,
    aten.positive.default,
    aten.resolve_conj.default,
    aten.resolve_neg.default,
    aten.view.dtype,
    aten._to_copy.default,
    aten.to.dtype,
    aten.to.dtype_layout,
    aten.to.device,
    aten.to.other,
    aten.type_as.default,
    torch.ops.prims.convert_element_type.default,
)
def cast(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """to(x, dtype) --> _to_copy(x, dtype=dtype), or x where the dtype stays"""
    source = call.a if hasattr(call, "a") else call.self
    if node.target is aten.view.dtype and value(source).dtype != value(node).dtype:
        return None
    if node.target is aten._to_copy.default and value(source).dtype != value(node).dtype and len(node.kwargs) == 1:
        return None
    return emit.cast(source, value(node).dtype)
