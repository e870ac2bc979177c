"""Pooling: `max_pool2d/3d` and `avg_pool2d/3d` with a batch dimension and every number written out."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.arguments import per_dim
from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, users_of_item
from prunus.passes.reasons import no

MAX_POOL = {2: aten.max_pool2d.default, 3: aten.max_pool3d.default}
AVG_POOL = {2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}


@rule(aten.max_pool1d.default, *MAX_POOL.values())
def max_pool(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """max_pool1d(x, k) --> reshape(max_pool2d(reshape(x, [n, c, 1, length]), [1, k]))"""
    dims = _dims(node)
    numbers = _window(call, dims) | {"dilation": per_dim(call.dilation, dims)}
    return _pool(emit, node, MAX_POOL, call.self, dims, numbers, (call.ceil_mode,))


@rule(aten.avg_pool1d.default, *AVG_POOL.values())
def avg_pool(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """avg_pool1d(x, k) --> reshape(avg_pool2d(reshape(x, [n, c, 1, length]), [1, k]))"""
    dims = _dims(node)
    rest = (call.ceil_mode, call.count_include_pad, getattr(call, "divisor_override", None))
    return _pool(emit, node, AVG_POOL, call.self, dims, _window(call, dims), rest)


def _dims(node: Node) -> int:
    return int(str(node.target).split(".")[1].split("pool")[1][0])


def _window(call: SimpleNamespace, dims: int) -> dict[str, list[int]]:
    kernel_size = per_dim(call.kernel_size, dims)
    stride = per_dim(call.stride, dims) if call.stride else kernel_size
    return {"kernel_size": kernel_size, "stride": stride, "padding": per_dim(call.padding, dims)}


def _pool(
    emit: Emitter,
    node: Node,
    targets: dict[int, torch._ops.OpOverload],
    x: Node,
    dims: int,
    numbers: dict[str, list[int]],
    rest: tuple[object, ...],
) -> Node | None:
    """Write the pool over at least two dimensions and a batch; None where `node` is just that."""
    neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    if dims == 1:
        numbers = {key: [neutral[key], *sizes] for key, sizes in numbers.items()}
    sizes = shape(x)
    batch = [1] if len(sizes) == dims + 1 else [sizes[0]]
    spatial = [1, *sizes[-1:]] if dims == 1 else list(sizes[-dims:])
    channels = sizes[-dims - 1]
    wanted = (x, *numbers.values(), *rest)
    if [*batch, channels, *spatial] == list(sizes) and node.args == wanted:
        return None
    pooled = emit(targets[max(dims, 2)], emit.reshape(x, [*batch, channels, *spatial]), *numbers.values(), *rest)
    return emit.reshape(pooled, shape(node))


@rule(aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def max_pool_with_indices(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """max_pool2d_with_indices(x, k)[0] --> max_pool2d(x, k), where nobody reads the indices"""
    if any(user.users for user in users_of_item(node, 1)):
        no("the indices of its maxima are read", node)
        return None
    target = MAX_POOL[2 if node.target is aten.max_pool2d_with_indices.default else 3]
    return (emit(target, *vars(call).values()),)


@rule(aten.max_pool1d_with_indices.default)
def max_pool1d_with_indices(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """max_pool1d_with_indices(x, k)[0] --> max_pool1d(x, k), where nobody reads the indices"""
    if any(user.users for user in users_of_item(node, 1)):
        no("the indices of its maxima are read", node)
        return None
    return (emit(aten.max_pool1d.default, *vars(call).values()),)


@rule(
    aten.adaptive_avg_pool1d.default,
    aten.adaptive_avg_pool2d.default,
    aten._adaptive_avg_pool2d.default,
    aten.adaptive_avg_pool3d.default,
    aten._adaptive_avg_pool3d.default,
)
def adaptive_avg_pool(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """adaptive_avg_pool2d(x, 1) --> mean(x, [2, 3], True); avg_pool2d where windows are equal; else see `_windows`"""
    dims = len(call.output_size)
    last = list(range(len(shape(node)) - dims, len(shape(node))))
    if all(size == 1 for size in shape(node)[-dims:]):
        return emit(aten.mean.dim, call.self, last, True)
    kernel_size = _equal_windows(call.self, node, dims)
    if kernel_size is not None:
        return emit({1: aten.avg_pool1d.default, **AVG_POOL}[dims], call.self, kernel_size, kernel_size)
    return _windows(call.self, node, dims, lambda x, dim: emit(aten.mean.dim, x, [dim], True), emit)


@rule(aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def adaptive_max_pool(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """adaptive_max_pool2d(x, 1)[0] --> max_pool2d where windows are equal, else see `_windows`"""
    if any(user.users for user in users_of_item(node, 1)):
        no("the indices of its maxima are read", node)
        return None
    dims = len(call.output_size)
    result = node.meta["val"][0]
    kernel_size = _equal_windows(call.self, result, dims)
    if kernel_size is not None:
        return (emit({1: aten.max_pool1d.default, **MAX_POOL}[dims], call.self, kernel_size, kernel_size),)
    return (_windows(call.self, result, dims, lambda x, dim: emit(aten.amax.default, x, [dim], True), emit),)


def _sizes(result: Node | torch.Tensor) -> tuple[int, ...]:
    return shape(result) if isinstance(result, Node) else tuple(int(size) for size in result.shape)


def _equal_windows(x: Node, result: Node | torch.Tensor, dims: int) -> list[int] | None:
    pairs = list(zip(shape(x)[-dims:], _sizes(result)[-dims:], strict=True))
    return [size // count for size, count in pairs] if all(size % count == 0 for size, count in pairs) else None


def _windows(
    x: Node, result: Node | torch.Tensor, dims: int, reduce: Callable[[Node, int], Node], emit: Emitter
) -> Node:
    """Reduce each window of each dimension and join them: windows are boxes, so one dimension at a time is exact.

    Window i of n over `size` elements covers floor(i size / n) to ceil((i + 1) size / n).
    """
    rank = len(shape(x))
    for dim in range(rank - dims, rank):
        size, count = shape(x)[dim], _sizes(result)[dim]
        if size == count:
            continue
        bounds = [(index * size // count, -((index + 1) * size // -count)) for index in range(count)]
        pieces = [reduce(emit.slice(x, dim, start, end), dim) for start, end in bounds]
        x = pieces[0] if count == 1 else emit(aten.cat.default, pieces, dim)
    return x
