"""Resizing: PyTorch's operator where it does what the file asks for, else a lookup or a matrix along each axis."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from prunus.frontend.builder import Value, normalized_axis, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.interpolation import Sampling, interpolation_matrix, nearest_places
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten

_NEAREST = {1: aten.upsample_nearest1d.vec, 2: aten.upsample_nearest2d.vec, 3: aten.upsample_nearest3d.vec}
_LINEAR = {1: aten.upsample_linear1d.vec, 2: aten.upsample_bilinear2d.vec, 3: aten.upsample_trilinear3d.vec}
_SMOOTH = {"linear": _LINEAR, "cubic": {2: aten.upsample_bicubic2d.vec}}
_ANTIALIASED = {"linear": {2: aten._upsample_bilinear2d_aa.vec}, "cubic": {2: aten._upsample_bicubic2d_aa.vec}}


@dataclass(frozen=True)
class _Axis:
    """One axis that changes: sizes before and after, and the factor that coordinates are divided by."""

    axis: int
    before: int
    after: int
    scale: float


@operator("Upsample", since=7)
@operator("Upsample", since=9)
def upsample(build: Builder, op: Operation) -> Value:
    sampling = Sampling(_mode(op), "asymmetric", "floor")
    return _resize(build, op, sampling, _axes(op, _floats(op, "scales", 1), None))


@operator("Resize", since=10)
def resize_by_scales(build: Builder, op: Operation) -> Value:
    sampling = Sampling(_mode(op), "asymmetric", "floor")
    return _resize(build, op, sampling, _axes(op, _floats(op, "scales", 1), None))


@operator("Resize", since=11)
def resize(build: Builder, op: Operation) -> Value:
    sampling = Sampling(
        mode=_mode(op),
        coordinates=op.attribute("coordinate_transformation_mode", "half_pixel"),
        nearest=op.attribute("nearest_mode", "round_prefer_floor"),
        cubic=op.attribute("cubic_coeff_a", -0.75),
        exclude_outside=bool(op.attribute("exclude_outside", 0)),
        antialias=bool(op.attribute("antialias", 0)),
    )
    if sampling.coordinates == "tf_crop_and_resize":
        raise op.refuse("coordinates of a cropped region")
    return _resize(build, op, sampling, _axes(op, _floats(op, "scales", 2), op.ints("sizes", 3)))


def _resize(build: Builder, op: Operation, sampling: Sampling, axes: list[_Axis]) -> Value:
    x = op.value(0)
    if not axes:
        return x
    if sampling.mode == "nearest":
        places = [nearest_places(sampling, axis.before, axis.after, axis.scale) for axis in axes]
        sizes = _spatial_sizes(op, axes)
        if _is_spatial(op, axes) and all(torch.equal(p, _torch_places(a)) for p, a in zip(places, axes, strict=True)):
            return build.call(_NEAREST[len(sizes)], x, sizes, None)
        for axis, place in zip(axes, places, strict=True):
            x = build.call(aten.index_select.default, x, axis.axis, place)
        return x
    matrices = [interpolation_matrix(sampling, axis.before, axis.after, axis.scale) for axis in axes]
    table: dict[int, Any] = (_ANTIALIASED if sampling.antialias else _SMOOTH)[sampling.mode]
    if _is_spatial(op, axes) and rank_of(x) - 2 in table:
        for align in (False, True):
            if all(
                torch.allclose(m, _torch_matrix(sampling, a, align), atol=1e-5)
                for m, a in zip(matrices, axes, strict=True)
            ):
                return build.call(table[rank_of(x) - 2], x, _spatial_sizes(op, axes), align, None)
    for axis, matrix in zip(axes, matrices, strict=True):
        x = _along(build, x, axis.axis, matrix)
    return x


def _axes(op: Operation, scales: list[float] | None, sizes: tuple[int, ...] | None) -> list[_Axis]:
    """Return the axes that change; `sizes` or `scales` are given for all axes or for those of the attribute `axes`."""
    before = shape_of(op.value(0))
    chosen = [normalized_axis(axis, len(before)) for axis in op.attribute("axes") or range(len(before))]
    found = []
    if sizes is not None:
        factors = [size / before[axis] for size, axis in zip(sizes, chosen, strict=True)]
        policy = op.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [min(factors) if policy == "not_larger" else max(factors)] * len(factors)
            sizes = tuple(math.floor(factors[0] * before[axis] + 0.5) for axis in chosen)
        found = [
            _Axis(axis, before[axis], size, factor) for axis, size, factor in zip(chosen, sizes, factors, strict=True)
        ]
    elif scales:
        found = [
            _Axis(axis, before[axis], math.floor(before[axis] * scale), scale)
            for axis, scale in zip(chosen, scales, strict=True)
        ]
    else:
        raise op.refuse("neither sizes nor scales")
    return [axis for axis in found if axis.scale != 1 or axis.before != axis.after]


def _mode(op: Operation) -> str:
    mode = op.attribute("mode", "nearest")
    return "linear" if mode == "bilinear" else mode


def _floats(op: Operation, name: str, index: int) -> list[float] | None:
    if name in op.attributes:
        return list(op.attributes[name])
    held = op.constant(index)
    return None if held is None or held.numel() == 0 else [float(number) for number in held]


def _is_spatial(op: Operation, axes: list[_Axis]) -> bool:
    return rank_of(op.value(0)) in (3, 4, 5) and all(axis.axis >= 2 for axis in axes)


def _spatial_sizes(op: Operation, axes: list[_Axis]) -> list[int]:
    sizes = list(shape_of(op.value(0)))
    for axis in axes:
        sizes[axis.axis] = axis.after
    return sizes[2:]


def _torch_places(axis: _Axis) -> torch.Tensor:
    """Return what PyTorch's nearest operator reads."""
    places = torch.arange(axis.before, dtype=torch.float64).reshape(1, 1, -1)
    return aten.upsample_nearest1d.vec(places, [axis.after], None).reshape(-1).to(torch.int64)


def _torch_matrix(sampling: Sampling, axis: _Axis, align: bool) -> torch.Tensor:
    """Return what PyTorch's operator does along one axis, as a matrix [after, before]."""
    unit = torch.eye(axis.before).reshape(1, axis.before, 1, axis.before)
    target = (_ANTIALIASED if sampling.antialias else _SMOOTH)[sampling.mode][2]
    return target(unit, [1, axis.after], align, None).reshape(axis.before, axis.after).t()


def _along(build: Builder, x: Value, axis: int, matrix: torch.Tensor) -> Value:
    """Multiply one axis by a matrix [after, before]."""
    rank = rank_of(x)
    order = [dim for dim in range(rank) if dim != axis] + [axis]
    back = [order.index(dim) for dim in range(rank)]
    if axis != rank - 1:
        x = build.call(aten.permute.default, x, order)
    x = build.call(aten.linear.default, x, matrix)
    return build.call(aten.permute.default, x, back) if axis != rank - 1 else x
