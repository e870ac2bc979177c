"""Operators on int8 weights beside float32 activations: they save bytes where a layer itself stays in float32."""

import torch
from torch import Tensor


@torch.library.custom_op("prunus::dequantize_channels", mutates_args=())
def dequantize_channels(x: Tensor, scale: Tensor, dim: int) -> Tensor:
    """Return float32(x) * scale, one scale for each slice of a dimension.

    Args:
        x: int8, any shape.
        scale: (x.shape[dim],) float32.
        dim: the dimension, from 0.
    """
    return x.float() * scale.reshape(-1, *[1] * (x.dim() - dim - 1))


@dequantize_channels.register_fake
def _(x: Tensor, scale: Tensor, dim: int) -> Tensor:
    return torch.empty_like(x, dtype=torch.float32)


@torch.library.custom_op("prunus::linear_int8", mutates_args=())
def linear_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """Return (x @ float32(weight).T) * scale + bias in float32: products of stored steps, scaled once a sum.

    Args:
        x: (..., I) float32.
        weight: (O, I) int8.
        scale: (O,) float32, value of one step of each row.
        bias: (O,) float32.
    """
    scaled = (x @ weight.float().t()) * scale
    return scaled if bias is None else scaled + bias


@linear_int8.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))
