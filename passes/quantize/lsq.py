"""Learned step sizes: scales, and for signed tails offsets, that training moves along with the weights.

Esser et al., "Learned step size quantization" (2020): a step s is a parameter; rounding passes gradients on, and

    d fake(x) / d s = round(x / s) - x / s    inside the grid,    its least or largest integer outside,

times 1 / sqrt(N * Q), N numbers of a sample (or weights of a channel) on Q levels, which keeps the updates of steps and
weights in proportion. Bhalgat et al., "LSQ+" (2020): values with a negative tail, such as hard-swish, also learn an
offset, the real number that the lowest integer stands for: its gradient is that of what is clipped.

`prunus::fake_quantize` has the gradients; the offset's follows from writing the zero point as a function of it,
zero_point = -128 - offset / s.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import Node

from prunus.passes.emit import Emitter
from prunus.passes.graph import aten
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.passes.quantize.grid import Grid

STEPS = "steps"
"""First part of the names of steps and offsets."""


@dataclass(frozen=True)
class Learned:
    """The nodes that a fake quantisation reads.

    Attributes:
        scale, zero_point: float32 (1,) or (channels,), computed from parameters or constant.
        factor: what the gradients of both are multiplied with.
    """

    scale: Node
    zero_point: Node
    factor: float


def gradient_factor(numbers: int, levels: int) -> float:
    """Return 1 / sqrt(N * Q).

    >>> gradient_factor(50, 2)
    0.1
    """
    return 1 / math.sqrt(numbers * levels)


def learn_activation(emit: Emitter, name: str, grid: Grid, numbers: int) -> Learned:
    """Write step and zero point of an activation; only one that may be negative has an offset to learn.

    Args:
        numbers: of one sample.
    """
    scale = _relative(emit, f"{STEPS}.{name}_scale", torch.tensor([grid.scale]))
    if grid.zero_point > INT8_LOW:
        lowest = torch.tensor([(INT8_LOW - grid.zero_point) * grid.scale])
        offset = _relative(emit, f"{STEPS}.{name}_offset", lowest)
        zero_point = emit(aten.rsub.Scalar, emit(aten.div.Tensor, offset, scale), INT8_LOW)
    else:
        zero_point = emit.constant(torch.tensor([float(INT8_LOW)]), like=f"{STEPS}.{name}_zero")
    return Learned(scale, zero_point, gradient_factor(numbers, INT8_HIGH - grid.zero_point))


def learn_weight(emit: Emitter, name: str, scales: Tensor, numbers: int, high: int) -> Learned:
    """Write one step for each output channel of a weight.

    Args:
        scales: (O,), where training starts.
        numbers: weights of one channel.
        high: the largest integer.
    """
    zeros = emit.constant(torch.zeros(len(scales)), like=f"{STEPS}.{name}_weight_zero")
    return Learned(_relative(emit, f"{STEPS}.{name}_weight_scale", scales), zeros, gradient_factor(numbers, high))


def _relative(emit: Emitter, name: str, start: Tensor) -> Node:
    """Write |ratio| * start with a parameter `ratio` of ones.

    Steps are a thousand times smaller than weights. As ratios, optimisers that normalise gradients (Adam) move them by
    the same share as weights, and no update makes them negative.
    """
    ratio = emit.constant(nn.Parameter(torch.ones_like(start)), like=name)
    return emit(aten.mul.Tensor, emit(aten.abs.default, ratio), emit.constant(start.clone(), like=f"{name}_start"))
