"""One tensor cut into several: slices."""

from types import SimpleNamespace

from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape


@rule(
    aten.chunk.default,
    aten.unsafe_chunk.default,
    aten.split.Tensor,
    aten.split.sizes,
    aten.unsafe_split.Tensor,
    aten.split_with_sizes.default,
    aten.unsafe_split_with_sizes.default,
    aten.tensor_split.sections,
    aten.tensor_split.indices,
)
def split(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...]:
    """chunk(x, 2) --> slice(x, 0, half), slice(x, half, size)"""
    dim = call.dim % len(shape(call.self))
    parts, start = [], 0
    for part in node.meta["val"]:
        end = start + int(part.shape[dim])
        parts.append(emit.slice(call.self, dim, start, end))
        start = end
    return tuple(parts)


@rule(aten.unbind.int)
def unbind(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...]:
    """unbind(x) --> select(x, 0, 0), select(x, 0, 1), ..."""
    return tuple(emit.select(call.self, call.dim, index) for index in range(len(node.meta["val"])))


@rule(aten.glu.default)
def glu(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """glu(x) --> first half * sigmoid(second half)"""
    dim = call.dim % len(shape(node))
    half = shape(node)[dim]
    gate = emit(aten.sigmoid.default, emit.slice(call.self, dim, half, 2 * half))
    return emit(aten.mul.Tensor, emit.slice(call.self, dim, 0, half), gate)


@rule(aten.unfold.default)
def unfold(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """unfold(x, dim, size, step) --> stack of the windows' first elements, second elements, ..."""
    dim = call.dimension % max(len(shape(call.self)), 1)
    count = shape(node)[dim]
    reach = (count - 1) * call.step + 1
    columns = [emit.slice(call.self, dim, offset, offset + reach, call.step) for offset in range(call.size)]
    return emit(aten.stack.default, columns, len(shape(node)) - 1)


@rule(aten.slice_scatter.default)
def slice_scatter(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """slice_scatter(x, source, dim, start, end) --> cat(x[:start], source, x[end:])"""
    dim = call.dim % len(shape(node))
    size = shape(node)[dim]
    start, end, step = slice(call.start, call.end, call.step).indices(size)
    if step != 1:
        return None
    pieces = [emit.slice(call.self, dim, 0, start), call.src, emit.slice(call.self, dim, max(start, end), size)]
    kept = [piece for piece in pieces if shape(piece)[dim] > 0]
    return emit(aten.cat.default, kept, dim) if len(kept) > 1 else kept[0]


@rule(aten.select_scatter.default)
def select_scatter(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """select_scatter(x, source, dim, index) --> slice_scatter(x, unsqueeze(source), dim, index, index + 1)"""
    dim = call.dim % len(shape(node))
    index = call.index % shape(node)[dim]
    row = [1 if place == dim else size for place, size in enumerate(shape(node))]
    return emit(aten.slice_scatter.default, call.self, emit.reshape(call.src, row), dim, index, index + 1)
