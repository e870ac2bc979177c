"""Arithmetic between values as `torch.export` writes it: numbers stand on the right, bounds are clamps."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node

from prunus.frontend.builder.graph_builder import GraphBuilder
from prunus.frontend.builder.values import Value, dtype_of, rank_of, scalar_of, shape_of
from prunus.passes.graph import aten

_MIRRORED = {aten.eq: aten.eq, aten.ne: aten.ne, aten.gt: aten.lt, aten.ge: aten.le, aten.lt: aten.gt, aten.le: aten.ge}


def add(build: GraphBuilder, x: Value, y: Value) -> Value:
    """Return `x + y`."""
    return _commutative(build, aten.add.Tensor, x, y)


def multiply(build: GraphBuilder, x: Value, y: Value) -> Value:
    """Return `x * y`."""
    return _commutative(build, aten.mul.Tensor, x, y)


def subtract(build: GraphBuilder, x: Value, y: Value) -> Value:
    """Return `x - y`."""
    if isinstance(y, Node) and (number := scalar_of(x, y)) is not None:
        return build.call(aten.rsub.Scalar, y, number)
    return build.call(aten.sub.Tensor, x, number_or(y, x))


def divide(build: GraphBuilder, x: Value, y: Value) -> Value:
    """Return `x / y`, of integers too."""
    if isinstance(y, Node) and scalar_of(x, y) == 1:
        return build.call(aten.reciprocal.default, y)
    return build.call(aten.div.Tensor, x, number_or(y, x))


def compare(build: GraphBuilder, packet: Any, x: Value, y: Value) -> Value:
    """Return `packet(x, y)` of `aten.eq`, `ne`, `gt`, `ge`, `lt` or `le`: `0 < x` becomes `x > 0`."""
    if isinstance(x, Node) and (number := scalar_of(y, x)) is not None:
        return build.call(packet.Scalar, x, number)
    if isinstance(y, Node) and (number := scalar_of(x, y)) is not None:
        return build.call(_MIRRORED[packet].Scalar, y, number)
    return build.call(packet.Tensor, x, y)


def maximum(build: GraphBuilder, x: Value, y: Value) -> Value:
    """Return the larger one of each pair; a number as one side makes it a clamp."""
    return _bound(build, x, y, aten.maximum.default, lambda number: (number, None))


def minimum(build: GraphBuilder, x: Value, y: Value) -> Value:
    """Return the smaller one of each pair; a number as one side makes it a clamp."""
    return _bound(build, x, y, aten.minimum.default, lambda number: (None, number))


def where(build: GraphBuilder, condition: Value, x: Value, y: Value) -> Value:
    """Return `x` where `condition` holds, else `y`."""
    if isinstance(condition, Node) and rank_of(condition) >= max(rank_of(x), rank_of(y)):
        if isinstance(y, torch.Tensor) and y.numel() == 1:
            return build.call(aten.where.ScalarOther, condition, x, y.item())
        if isinstance(x, torch.Tensor) and x.numel() == 1:
            return build.call(aten.where.ScalarSelf, condition, x.item(), y)
    return build.call(aten.where.self, condition, x, y)


def cast(build: GraphBuilder, x: Value, dtype: torch.dtype) -> Value:
    """Return `x` as `dtype`, itself where it is that already."""
    return x if dtype_of(x) == dtype else build.call(aten.to.dtype, x, dtype)


def reshape(build: GraphBuilder, x: Value, wanted: Sequence[int]) -> Value:
    """Return `x` in another shape, itself where it has that shape."""
    return x if shape_of(x) == tuple(wanted) else build.call(aten.reshape.default, x, list(wanted))


def permute(build: GraphBuilder, x: Value, dims: Sequence[int]) -> Value:
    """Return `x` with its dimensions in another order, itself where they stay."""
    return x if list(dims) == sorted(dims) else build.call(aten.permute.default, x, list(dims))


def number_or(value: Value, beside: Value) -> Value | float | int | bool:
    """Return a one-element constant as a number where the other side is a node."""
    number = scalar_of(value, beside) if isinstance(beside, Node) else None
    return value if number is None else number


def _commutative(build: GraphBuilder, target: Any, x: Value, y: Value) -> Value:
    if isinstance(y, Node) and (number := scalar_of(x, y)) is not None:
        return build.call(target, y, number)
    if isinstance(x, Node) and (number := scalar_of(y, x)) is not None:
        return build.call(target, x, number)
    return build.call(target, x, y)


def _bound(build: GraphBuilder, x: Value, y: Value, target: Any, bounds: Callable[[Any], tuple[Any, Any]]) -> Value:
    for value, other in ((x, y), (y, x)):
        if isinstance(value, Node) and (number := scalar_of(other, value)) is not None:
            return build.call(aten.clamp.default, value, *bounds(number))
    return build.call(target, x, y)
