"""The integers that stand for real numbers: scales and zero points from ranges."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW

SMALLEST_SCALE = 2.0**-64
"""Scales stay above, so that their reciprocals and products are normal float32 numbers."""


@dataclass(frozen=True)
class Grid:
    """Activations of one scale: the int8 number q stands for (q - zero_point) * scale.

    Attributes:
        scale: value of one step, a float32 number.
        zero_point: the integer that stands for 0, within -128..127.
    """

    scale: float
    zero_point: int

    def step(self, number: float | None, otherwise: int) -> int:
        """Return the int8 number nearest to a real one, `otherwise` for None."""
        if number is None:
            return otherwise
        return max(INT8_LOW, min(INT8_HIGH, round(number / self.scale) + self.zero_point))


def asymmetric(low: float, high: float) -> Grid:
    """Return the grid of 256 steps over the range and 0, which is always a step: padding and ReLU need it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = in_float32(max((high - low) / (INT8_HIGH - INT8_LOW), SMALLEST_SCALE))
    return Grid(scale, max(INT8_LOW, min(INT8_HIGH, round(INT8_LOW - low / scale))))


def limits(bits: int) -> tuple[int, int]:
    """Return the least and the largest weight.

    From 5 bits on the two are symmetric: without -128 two products of int8 numbers fit into int16, which kernels
    without dot products use. With fewer bits no step is given away.
    """
    high = 2 ** (bits - 1) - 1
    return (-high if bits > 4 else -high - 1), high


def weight_scales(weight: Tensor, bits: int) -> Tensor:
    """Return one float32 scale for each slice of dimension 0, with which rounding errs least in the mean square.

    Searched among the largest magnitude of the slice and shares of it.

    Args:
        weight: (O, ...) float.
        bits: 2 to 8.
    """
    low, high = limits(bits)
    rows = weight.detach().double().reshape(weight.shape[0], -1)
    largest = rows.abs().amax(1).clamp_min(SMALLEST_SCALE)
    best, best_error = largest / high, torch.full_like(largest, torch.inf)
    for share in torch.linspace(1.0, 0.4, 31, dtype=torch.float64):
        scale = (share * largest / high)[:, None]
        error = rows.div(scale).round_().clamp_(low, high).mul_(scale).sub_(rows).square_().sum(1)
        better = error < best_error
        best = torch.where(better, scale[:, 0], best)
        best_error = torch.where(better, error, best_error)
    return best.float()


def larger_scales(
    weight: Tensor, scales: Tensor, bits: int, suit: Callable[[Tensor], Tensor], factor: float = 1.02
) -> Tensor:
    """Return scales (O,), larger by powers of `factor` where that makes steps suit.

    Args:
        weight: (O, ...) float.
        suit: tells of int8 steps (some of O, ...) whether each slice of dimension 0 will do; zeros do.
    """
    scales = scales.clone()
    rest = torch.arange(len(scales))
    while len(rest := rest[~suit(to_steps(weight[rest], scales[rest], bits))]):
        scales[rest] *= factor
    return scales


def to_steps(weight: Tensor, scales: Tensor, bits: int) -> Tensor:
    """Round weights (O, ...) to int8 steps of `scales` (O,)."""
    low, high = limits(bits)
    by_row = scales.double().reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight.detach().double() / by_row).clamp(low, high).to(torch.int8)


def in_float32(number: float) -> float:
    """Round to the nearest float32 number."""
    return float(torch.tensor(number, dtype=torch.float32))
