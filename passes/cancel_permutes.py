"""Let permutations meet and cancel."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.decompose import BINARY, UNARY
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, shape, tidy

PERMUTE = aten.permute.default
Sink = Callable[[Emitter, Node, list[int]], Node | None]


def cancel_permutes(graph: Graph) -> Graph:
    """Compose permutations and reshapes, and move permutations down until they meet their inverse.

    before:  x -> permute(to NHWC) -> relu -> permute(to NCHW) -> y
    after:   x -> relu -> y

    before:  x -> reshape -> reshape -> y;   x -> permute(dimensions of size 1 only) -> y;   x -> reshape -> relu -> y
    after:   x -> reshape -> y;              x -> reshape -> y;                              x -> relu -> reshape -> y

    A permutation moves past element-wise calls, cat, padding, softmax and reductions whose operands are all permuted
    alike; if others read it too, past all of them at once, where no more elements are permuted than before.
    """
    while sum(_step(graph, node) for node in calls(graph)):
        graph.graph.eliminate_dead_code()
    return tidy(graph)


def _step(graph: Graph, node: Node) -> bool:
    return _simplify(graph, node) or _sink_reshape(graph, node) or _sink(graph, node)


def _simplify(graph: Graph, node: Node) -> bool:
    """Compose a view with the view before it."""
    if is_op(node, aten.reshape.default):
        return _simplify_reshape(graph, node)
    if is_op(node, aten.select.int) and shape(arguments(node).self)[arguments(node).dim] == 1:
        replace(node, Emitter(graph, node).reshape(arguments(node).self, shape(node)))
        return True
    if not is_op(node, PERMUTE):
        return False
    source, emit = _node(node.args[0]), Emitter(graph, node)
    dims = list(arguments(node).dims)
    if dims == sorted(dims):
        replace(node, source)
    elif is_op(source, PERMUTE):
        first = arguments(source)
        replace(node, emit.permute(first.self, [first.dims[dim] for dim in dims]))
    elif _moves_only_ones(shape(source), dims):
        replace(node, emit.reshape(source, shape(node)))
    else:
        return False
    return True


def _simplify_reshape(graph: Graph, node: Node) -> bool:
    """Compose a reshape with the reshape before it; before a linear layer it meets more of them than behind it."""
    source, emit = _node(node.args[0]), Emitter(graph, node)
    if shape(source) == shape(node):
        replace(node, source)
    elif is_op(source, aten.reshape.default):
        replace(node, emit.reshape(arguments(source).self, shape(node)))
    elif is_op(source, aten.linear.default) and shape(source)[-1:] == shape(node)[-1:] and only_user(source) is node:
        x, weight, bias = (arguments(source).input, arguments(source).weight, arguments(source).bias)
        rows = emit.reshape(x, [*shape(node)[:-1], shape(x)[-1]])
        replace(node, emit(aten.linear.default, rows, weight, bias))
    else:
        return False
    return True


def _sink_reshape(graph: Graph, node: Node) -> bool:
    """relu(reshape(x)) --> reshape(relu(x)): beside what computes x, the call costs no kernel of its own."""
    moved = [source for source in node.all_input_nodes if is_op(source, aten.reshape.default)]
    if node.target not in (*UNARY, *BINARY) or len(moved) != 1 or only_user(moved[0]) is not node:
        return False
    emit, x = Emitter(graph, node), arguments(moved[0]).self
    args = [x if argument is moved[0] else argument for argument in node.args]
    for place, argument in enumerate(args):
        if isinstance(argument, Node) and argument is not x:
            sizes = _sizes_before(graph, argument, x, node)
            if sizes is None:
                return False
            args[place] = emit.reshape(argument, sizes)
    replace(node, emit.reshape(emit(_overload(node), *args, **node.kwargs), shape(node)))
    return True


def _sizes_before(graph: Graph, constant: Node, x: Node, node: Node) -> list[int] | None:
    """Return the sizes of a constant that `node` joins with a reshape of `x`, for joining it with `x` itself.

    None where it is computed at run time, or where the reshape does more than add and drop dimensions of size 1.
    """
    tensor = get_constant(graph, constant)
    sizes, wide = shape(node), [size for size in shape(x) if size != 1]
    if tensor is None or tensor.dim() > len(sizes) or [size for size in sizes if size != 1] != wide:
        return None
    padded = [1] * (len(sizes) - tensor.dim()) + list(tensor.shape)
    own = iter([size for size, whole in zip(padded, sizes, strict=True) if whole != 1])
    return [next(own) if size != 1 else 1 for size in shape(x)]


def _moves_only_ones(sizes: tuple[int, ...], dims: list[int]) -> bool:
    """Tell whether the dimensions of more than one element stay in order."""
    wide = [dim for dim in dims if sizes[dim] != 1]
    return wide == sorted(wide)


def _sink(graph: Graph, node: Node) -> bool:
    """Move the permutation of a call's operands behind the call, and behind all that read the same permutation."""
    sources = [source for source in node.all_input_nodes if is_op(source, PERMUTE)]
    if not sources:
        return False
    dims = list(arguments(sources[0]).dims)
    readers = _all_readers(node, dims)
    if readers is None:
        return False
    moved = [(reader, SINKS[reader.target](Emitter(graph, reader), reader, dims)) for reader in readers]
    if any(new is None for _, new in moved):
        return False
    permuted = {source for reader in readers for source in reader.all_input_nodes if is_op(source, PERMUTE)}
    before, after = _elements(permuted), _elements(new for _, new in moved)
    if len(readers) > 1 and after > before:
        return False
    for reader, new in moved:
        assert new is not None
        replace(reader, new)
    return True


def _all_readers(node: Node, dims: list[int]) -> list[Node] | None:
    """Return `node` and all calls that share a permuted operand with it, in order; None if one of them has no rule.

    Of one permutation only, since its copies behind several calls must not be more than it was itself.
    """
    found, pending = {node}, [node]
    while pending:
        reader = pending.pop()
        if reader.target not in SINKS:
            return None
        for source in reader.all_input_nodes:
            if is_op(source, PERMUTE):
                if list(arguments(source).dims) != dims:
                    return None
                pending += [user for user in source.users if user not in found]
                found.update(source.users)
    return [reader for reader in node.graph.nodes if reader in found] if len(found) > 1 else [node]


def _elements(nodes: Iterable[Node | None]) -> int:
    """Return how many elements permutations move at run time; those of dimensions of one element move none.

    A permutation behind padding counts without it, so that padding does not keep one from moving on to its inverse.
    """
    total = 0
    for node in nodes:
        if isinstance(node, Node) and is_op(node, PERMUTE):
            source = _node(node.args[0])
            if not _moves_only_ones(shape(source), list(arguments(node).dims)):
                padded = is_op(source, aten.constant_pad_nd.default)
                total += math.prod(shape(_node(source.args[0]) if padded else source))
    return total


def _elementwise(emit: Emitter, node: Node, dims: list[int]) -> Node | None:
    """relu(permute(x)) --> permute(relu(x)); constants are permuted back, numbers and single elements stay"""
    args = []
    for argument in node.args:
        moved = _before(emit, argument, dims) if isinstance(argument, Node) else argument
        if moved is None:
            return None
        args.append(moved)
    return emit.permute(emit(_overload(node), *args, **node.kwargs), dims)


def _before(emit: Emitter, operand: Node, dims: list[int]) -> Node | None:
    """Return `operand` as it was before its permutation by `dims`, None where that takes work at run time."""
    if is_op(operand, PERMUTE):
        return _node(operand.args[0])
    if not shape(operand):
        return operand
    sizes = [1] * (len(dims) - len(shape(operand))) + list(shape(operand))
    inverse = [dims.index(place) for place in range(len(dims))]
    if _moves_only_ones(tuple(sizes), inverse):
        return emit.reshape(operand, [sizes[dim] for dim in inverse])
    if get_constant(emit.graph, operand) is None:
        return None
    return emit.permute(emit.reshape(operand, sizes), inverse)


def _cat(emit: Emitter, node: Node, dims: list[int]) -> Node | None:
    """cat([permute(x), permute(y)], dim) --> permute(cat([x, y], dims[dim]))"""
    tensors, dim = arguments(node).tensors, arguments(node).dim
    if not all(is_op(tensor, PERMUTE) for tensor in tensors):
        return None
    return emit.permute(emit(aten.cat.default, [tensor.args[0] for tensor in tensors], dims[dim]), dims)


def _pad(emit: Emitter, node: Node, dims: list[int]) -> Node | None:
    """constant_pad_nd(permute(x), sides) --> permute(constant_pad_nd(x, sides of each dimension))"""
    call = arguments(node)
    rank = len(dims)
    sides = [(0, 0)] * rank
    for place in range(len(call.pad) // 2):
        sides[dims[rank - 1 - place]] = (call.pad[2 * place], call.pad[2 * place + 1])
    listed = [side for pair in reversed(sides) for side in pair]
    while listed[-2:] == [0, 0]:
        del listed[-2:]
    return emit.permute(emit(aten.constant_pad_nd.default, _node(call.self.args[0]), listed, call.value), dims)


def _softmax(emit: Emitter, node: Node, dims: list[int]) -> Node | None:
    """softmax(permute(x), dim) --> permute(softmax(x, dims[dim]))"""
    call = arguments(node)
    return emit.permute(emit(_overload(node), _node(call.self.args[0]), dims[call.dim]), dims)


def _reduce(emit: Emitter, node: Node, dims: list[int]) -> Node | None:
    """mean(permute(x), dim) --> permute(mean(x, dims[dim]))"""
    call = arguments(node)
    reduced = sorted(dims[dim] for dim in call.dim)
    result = emit(_overload(node), _node(call.self.args[0]), reduced, call.keepdim)
    if call.keepdim:
        return emit.permute(result, dims)
    left = [dim for dim in dims if dim not in reduced]
    return emit.permute(result, [sorted(left).index(dim) for dim in left])


def _overload(node: Node) -> torch._ops.OpOverload:
    assert isinstance(node.target, torch._ops.OpOverload)
    return node.target


def _node(argument: Any) -> Node:
    assert isinstance(argument, Node)
    return argument


SINKS: dict[object, Sink] = {
    **dict.fromkeys((*UNARY, *BINARY), _elementwise),
    aten.cat.default: _cat,
    aten.constant_pad_nd.default: _pad,
    aten.softmax.int: _softmax,
    aten.log_softmax.int: _softmax,
    **dict.fromkeys(
        (aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default),
        _reduce,
    ),
}
