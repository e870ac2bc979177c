"""What ONNX's Resize reads along one axis, after the formulas of its specification.

Coordinates are worked out in float32, as ONNX Runtime does: which of two neighbours is nearer may hang on the last bit.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sampling:
    """How to resize.

    Attributes:
        mode: `nearest`, `linear` or `cubic`.
        coordinates: ONNX's `coordinate_transformation_mode`.
        nearest: ONNX's `nearest_mode`.
        cubic: coefficient of the cubic kernel.
        exclude_outside: give places outside the input no weight.
    """

    mode: str
    coordinates: str
    nearest: str
    cubic: float = -0.75
    exclude_outside: bool = False


def nearest_places(sampling: Sampling, before: int, after: int, scale: float) -> torch.Tensor:
    """Return the index that is read for each of `after` places, int64 [after]."""
    at = _coordinates(sampling, before, after, scale)
    if sampling.nearest == "floor":
        places = at.floor()
    elif sampling.nearest == "ceil":
        places = at.ceil()
    elif sampling.nearest == "round_prefer_ceil":
        places = (at + 0.5).floor()
    else:
        places = (at - 0.5).ceil()
    return places.to(torch.int64).clamp(0, before - 1)


def interpolation_matrix(sampling: Sampling, before: int, after: int, scale: float) -> torch.Tensor:
    """Return the weights of the linear or cubic kernel, float32 [after, before]."""
    at = _coordinates(sampling, before, after, scale)
    if sampling.mode == "linear":
        at = at.clamp(0, before - 1)
        offsets = torch.arange(2)
    else:
        offsets = torch.arange(-1, 3)
    places = at.floor()[:, None] + offsets
    distance = (at[:, None] - places).abs()
    weights = 1 - distance if sampling.mode == "linear" else _cubic(distance, sampling.cubic)
    if sampling.exclude_outside:
        weights = torch.where((places >= 0) & (places < before), weights, 0.0)
        weights = weights / weights.sum(1, keepdim=True)
    matrix = torch.zeros(after, before)
    return matrix.scatter_add(1, places.clamp(0, before - 1).to(torch.int64), weights)


def _coordinates(sampling: Sampling, before: int, after: int, scale: float) -> torch.Tensor:
    """Return where each place lies in the input, float32 [after]."""
    place, factor = torch.arange(after, dtype=torch.float32), torch.tensor(scale, dtype=torch.float32)
    match sampling.coordinates:
        case "asymmetric":
            return place / factor
        case "align_corners":
            return place * (before - 1) / (after - 1) if after > 1 else torch.zeros(1)
        case "pytorch_half_pixel" if after == 1:
            return torch.zeros(1)
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
