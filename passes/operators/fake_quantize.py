"""Rounding in float32 that can be trained through: what `quantize` and `dequantize` do together, with gradients."""

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("prunus::fake_quantize", mutates_args=())
def fake_quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, dim: int, low: int, high: int, gradient_factor: float
) -> Tensor:
    """Return (clamp(rint(x * (1 / scale)) + z, low, high) - z) * scale, z the zero point rounded and within the bounds.

    Its gradients are those of LSQ (Esser et al. 2020, equations 3 and 5) and LSQ+ (Bhalgat et al. 2020), v = x / scale:

        d/dx          = 1                  where low - z < v < high - z, else 0
        d/dscale      = rint(v) - v        there, low - z below and high - z above
        d/dzero_point = 0                  there, else -scale

    the last two times `gradient_factor`; the zero point's own rounding counts as the identity.

    Args:
        x: float32, any shape.
        scale, zero_point: float32 (1,), or one number for each index of dimension `dim`.
        dim: the dimension, from 0.
        low, high: least and largest integer.
        gradient_factor: 1 / sqrt(N * Q) in the papers.
    """
    step, zero = _beside(scale, x, dim), _beside(_whole(zero_point, low, high), x, dim)
    steps = torch.mul(x, step.reciprocal()).round_()
    return torch.clamp(steps, low - zero, high - zero).mul_(step)


@fake_quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, dim: int, low: int, high: int, gradient_factor: float) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, zero_point, ctx.dim, ctx.low, ctx.high, ctx.factor = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, zero_point = ctx.saved_tensors
    step = _beside(scale, x, ctx.dim)
    zero = _beside(_whole(zero_point, ctx.low, ctx.high), x, ctx.dim)
    least, most = ctx.low - zero, ctx.high - zero
    v = x * step.reciprocal()
    inside = (v > least) & (v < most)
    passed = gradient * inside
    of_scale = of_zero_point = None
    if ctx.needs_input_grad[1]:
        slope = torch.clamp(v.round(), least, most).sub_(v.mul_(inside))
        of_scale = ctx.factor * _sum_like(gradient * slope, scale, ctx.dim)
    if ctx.needs_input_grad[2]:
        of_zero_point = -ctx.factor * scale * _sum_like(gradient - passed, scale, ctx.dim)
    return passed, of_scale, of_zero_point, None, None, None, None


fake_quantize.register_autograd(_gradients, setup_context=_keep)


def _whole(zero_point: Tensor, low: int, high: int) -> Tensor:
    return zero_point.round().clamp(low, high)


def _beside(values: Tensor, x: Tensor, dim: int) -> Tensor:
    """Lay one number, or one for each index of a dimension, beside `x`."""
    return values.reshape(()) if values.numel() == 1 else values.reshape(-1, *[1] * (x.dim() - dim - 1))


def _sum_like(products: Tensor, values: Tensor, dim: int) -> Tensor:
    """Sum over all that one of `values` stands beside."""
    if values.numel() == 1:
        return products.sum().reshape(values.shape)
    return products.sum([other for other in range(products.dim()) if other != dim])
