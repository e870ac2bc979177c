"""Reductions over axes."""

from typing import Any

import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, normalized_axis, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, Rule, operator
from prunus.frontend.onnx.values import Results
from prunus.passes.graph import aten


def _over_axes(reduce: Any) -> Rule:
    """Read axes from the attribute or, in newer versions, from the input; none at all means every axis."""

    def rule(build: Builder, op: Operation) -> Value:
        x = op.value(0)
        axes = op.ints("axes", 1)
        if not axes:
            if op.attribute("noop_with_empty_axes", 0):
                return x
            axes = tuple(range(rank_of(x)))
        dims = [normalized_axis(axis, rank_of(x)) for axis in axes]
        return reduce(build, x, dims, bool(op.attribute("keepdims", 1))) if dims else x

    return rule


def _simple(target: Any) -> Any:
    return lambda build, x, dims, keep: build.call(target, x, dims, keep)


def _sum(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    return arithmetic.cast(build, build.call(aten.sum.dim_IntList, x, dims, keep), dtype_of(x))


def _mean(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    if dtype_of(x).is_floating_point:
        return build.call(aten.mean.dim, x, dims, keep)
    as_float = build.call(aten.to.dtype, x, torch.float64)
    return build.call(aten.to.dtype, build.call(aten.mean.dim, as_float, dims, keep), dtype_of(x))


def _prod(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    dtype = dtype_of(x)
    for dim in sorted(dims, reverse=True):
        x = build.call(aten.prod.dim_int, x, dim, keep)
    return arithmetic.cast(build, x, dtype)


def _l1(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    return _sum(build, build.call(aten.abs.default, x), dims, keep)


def _l2(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    return build.call(aten.sqrt.default, _sum_square(build, x, dims, keep))


def _sum_square(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    return _sum(build, build.call(aten.mul.Tensor, x, x), dims, keep)


def _log_sum(build: Builder, x: Value, dims: list[int], keep: bool) -> Value:
    return build.call(aten.log.default, _sum(build, x, dims, keep))


_REDUCTIONS = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _simple(aten.logsumexp.default),
    "ReduceMax": _simple(aten.amax.default),
    "ReduceMean": _mean,
    "ReduceMin": _simple(aten.amin.default),
    "ReduceProd": _prod,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_square,
}
for _name, _reduce in _REDUCTIONS.items():
    operator(_name)(_over_axes(_reduce))


@operator("ArgMax")
def arg_max(build: Builder, op: Operation) -> Value:
    return _arg(build, op, aten.argmax.default)


@operator("ArgMin")
def arg_min(build: Builder, op: Operation) -> Value:
    return _arg(build, op, aten.argmin.default)


def _arg(build: Builder, op: Operation, target: Any) -> Value:
    """The last of equal elements is the first one of the flipped input."""
    x = op.value(0)
    axis, keep = normalized_axis(op.attribute("axis", 0), rank_of(x)), bool(op.attribute("keepdims", 1))
    if not op.attribute("select_last_index", 0):
        return build.call(target, x, axis, keep)
    flipped = build.call(target, build.call(aten.flip.default, x, [axis]), axis, keep)
    return build.call(aten.rsub.Scalar, flipped, shape_of(x)[axis] - 1)


@operator("CumSum")
def cum_sum(build: Builder, op: Operation) -> Value:
    x, held = op.value(0), op.constant(1)
    axis = normalized_axis(int(held) if held is not None else 0, rank_of(x))
    reverse = bool(op.attribute("reverse", 0))
    if reverse:
        x = build.call(aten.flip.default, x, [axis])
    total = arithmetic.cast(build, build.call(aten.cumsum.default, x, axis), dtype_of(x))
    if op.attribute("exclusive", 0):
        total = build.call(aten.sub.Tensor, total, x)
    return build.call(aten.flip.default, total, [axis]) if reverse else total


@operator("TopK")
def top_k(build: Builder, op: Operation) -> Results:
    """`k` is an attribute before version 10."""
    x, held = op.value(0), op.constant(1)
    count = int(held) if held is not None else op.attribute("k")
    return build.call_many(
        aten.topk.default, x, count, op.attribute("axis", -1), bool(op.attribute("largest", 1)),
        bool(op.attribute("sorted", 1)),
    )  # fmt: skip
