"""What ONNX's Resize reads along one axis, after the formulas of its specification."""

import math
from dataclasses import dataclass

import torch

_TIE = 1e-6


@dataclass(frozen=True)
class Sampling:
    """How to resize.

    Attributes:
        mode: `nearest`, `linear` or `cubic`.
        coordinates: ONNX's `coordinate_transformation_mode`.
        nearest: ONNX's `nearest_mode`.
        cubic: coefficient of the cubic kernel.
        exclude_outside: give places outside the input no weight.
        antialias: stretch the kernel where the output is smaller.
    """

    mode: str
    coordinates: str
    nearest: str
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


def nearest_places(sampling: Sampling, before: int, after: int, scale: float) -> torch.Tensor:
    """Return the index that is read for each of `after` places, int64 [after].

    ONNX Runtime takes floors and ceilings in float32, so that 2.9999998 is below 3, but finds ties exactly.
    """
    if sampling.nearest in ("floor", "ceil"):
        at = _coordinates(sampling, before, after, scale, torch.float32)
        places = at.floor() if sampling.nearest == "floor" else at.ceil()
    else:
        at = _coordinates(sampling, before, after, scale, torch.float64)
        prefers_ceil = sampling.nearest == "round_prefer_ceil"
        places = (at + 0.5 + _TIE).floor() if prefers_ceil else (at - 0.5 - _TIE).ceil()
    return places.to(torch.int64).clamp(0, before - 1)


def interpolation_matrix(sampling: Sampling, before: int, after: int, scale: float) -> torch.Tensor:
    """Return the weights of the linear or cubic kernel, float32 [after, before]; borders stand for what is outside."""
    at = _coordinates(sampling, before, after, scale, torch.float64)
    stretch = min(scale, 1.0) if sampling.antialias else 1.0
    reach = math.ceil((1 if sampling.mode == "linear" else 2) / stretch)
    places = at.floor()[:, None] + torch.arange(1 - reach, reach + 1)
    distance = (at[:, None] - places).abs() * stretch
    weights = (1 - distance).clamp(min=0) if sampling.mode == "linear" else _cubic(distance, sampling.cubic)
    if sampling.exclude_outside:
        weights = torch.where((places >= 0) & (places < before), weights, 0.0)
    weights = weights / weights.sum(1, keepdim=True)
    matrix = torch.zeros(after, before, dtype=torch.float64)
    return matrix.scatter_add(1, places.clamp(0, before - 1).to(torch.int64), weights).to(torch.float32)


def _coordinates(sampling: Sampling, before: int, after: int, scale: float, dtype: torch.dtype) -> torch.Tensor:
    """Return where each place lies in the input, [after]."""
    place, factor = torch.arange(after, dtype=dtype), torch.tensor(scale, dtype=dtype)
    match sampling.coordinates:
        case "asymmetric":
            return place / factor
        case "align_corners":
            return place * (before - 1) / max(after - 1, 1)
        case "pytorch_half_pixel" if after == 1:
            return torch.zeros(1, dtype=dtype)
        case "half_pixel_symmetric":
            adjustment = after / (scale * before)
            return (before / 2) * (1 - adjustment) + (place + 0.5) / factor - 0.5
        case _:
            return (place + 0.5) / factor - 0.5


def _cubic(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Keys' kernel: R. Keys, Cubic convolution interpolation for digital image processing, 1981."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
