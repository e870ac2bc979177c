"""Reductions of `keras.ops`."""

import math
from typing import Any

import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, Rule, rule
from prunus.passes.graph import aten


def axes_of(call: Call, x: Value) -> list[int]:
    """Return the axes that are reduced, counted from the front; None means all of them."""
    axis = call.axis
    axes = range(rank_of(x)) if axis is None else [axis] if isinstance(axis, int) else axis
    return sorted(dim % rank_of(x) for dim in axes)


def _over(target: Any) -> Rule:
    return lambda build, call: build.call(target, call.x, axes_of(call, call.x), bool(call.keepdims))


rule("ops.Amax", "ops.Max")(_over(aten.amax.default))
rule("ops.Amin", "ops.Min")(_over(aten.amin.default))
rule("ops.Sum")(_over(aten.sum.dim_IntList))
rule("ops.Logsumexp")(_over(aten.logsumexp.default))


@rule("ops.Mean")
def mean(build: Builder, call: Call) -> Value:
    x = call.x if dtype_of(call.x).is_floating_point else arithmetic.cast(build, call.x, torch.float32)
    return build.call(aten.mean.dim, x, axes_of(call, x), bool(call.keepdims))


@rule("ops.Var")
def variance(build: Builder, call: Call) -> Value:
    """Of the whole population."""
    axes = axes_of(call, call.x)
    centred = build.call(aten.sub.Tensor, call.x, build.call(aten.mean.dim, call.x, axes, True))
    return build.call(aten.mean.dim, build.call(aten.mul.Tensor, centred, centred), axes, bool(call.keepdims))


@rule("ops.Std")
def standard_deviation(build: Builder, call: Call) -> Value:
    return build.call(aten.sqrt.default, variance(build, call))


@rule("ops.Prod")
def product(build: Builder, call: Call) -> Value:
    x = call.x
    for axis in reversed(axes_of(call, x)):
        x = build.call(aten.prod.dim_int, x, axis, bool(call.keepdims))
    return x


@rule("ops.Any")
def any_of(build: Builder, call: Call) -> Value:
    return _counted(build, call, aten.gt.Scalar, lambda _: 0)


@rule("ops.All")
def all_of(build: Builder, call: Call) -> Value:
    return _counted(build, call, aten.eq.Scalar, lambda count: count)


def _counted(build: Builder, call: Call, target: Any, wanted: Any) -> Value:
    """Compare how many elements hold with a number."""
    x, axes = build.value(call.x), axes_of(call, call.x)
    held = arithmetic.cast(build, arithmetic.cast(build, x, torch.bool), torch.int32)
    total = build.call(aten.sum.dim_IntList, held, axes, bool(call.keepdims))
    return build.call(target, total, wanted(math.prod(shape_of(x)[axis] for axis in axes)))


@rule("ops.CountNonzero")
def count_nonzero(build: Builder, call: Call) -> Value:
    held = arithmetic.cast(build, arithmetic.cast(build, call.x, torch.bool), torch.int32)
    return arithmetic.cast(build, build.call(aten.sum.dim_IntList, held, axes_of(call, call.x), False), torch.int32)


def _place(target: Any) -> Rule:
    """Places are int32 in Keras."""

    def rule_of_places(build: Builder, call: Call) -> Value:
        x, axis = call.x, call.axis
        if axis is None:
            x, axis = arithmetic.reshape(build, x, [math.prod(shape_of(x))]), 0
        return arithmetic.cast(build, build.call(target, x, axis, bool(call.keepdims)), torch.int32)

    return rule_of_places


rule("ops.Argmax")(_place(aten.argmax.default))
rule("ops.Argmin")(_place(aten.argmin.default))


@rule("ops.Cumsum")
def cumulative_sum(build: Builder, call: Call) -> Value:
    if call.axis is None:
        return build.call(aten.cumsum.default, arithmetic.reshape(build, call.x, [math.prod(shape_of(call.x))]), 0)
    return build.call(aten.cumsum.default, call.x, call.axis)


@rule("ops.Average")
def average(build: Builder, call: Call) -> Value:
    weights = call.argument(1, "weights")
    if weights is not None:
        raise call.refuse("weights")
    return build.call(aten.mean.dim, call.x, axes_of(call, call.x), False)


@rule("ops.Norm")
def norm(build: Builder, call: Call) -> Value:
    """Of vectors: the Euclidean one where no order is given."""
    axes = axes_of(call, call.x)
    if call.ord in ("fro", "nuc") or (call.ord is not None and len(axes) != 1):
        raise call.refuse(f"the norm {call.ord!r} of matrices")
    order = 2 if call.ord is None else call.ord
    return build.call(aten.linalg_vector_norm.default, call.x, order, axes, bool(call.keepdims))


@rule("ops.TopK")
def top_k(build: Builder, call: Call) -> tuple[Value, ...]:
    values, places = build.call_many(aten.topk.default, call.x, call.k)
    return values, arithmetic.cast(build, places, torch.int32)
