"""Integer layers with weights, scales and biases from fixed seeds."""

from typing import Any

import torch
from torch import nn

import prunus.passes.operators.quantized  # noqa: F401  registers the operators

quantized = torch.ops.prunus


class Call(nn.Module):
    """One integer operator; tensors among its arguments are weights."""

    def __init__(self, operator: Any, *arguments: Any) -> None:
        super().__init__()
        self.operator, self.arguments = operator, arguments
        for index, argument in enumerate(arguments):
            if isinstance(argument, torch.Tensor):
                self.register_buffer(f"weight{index}", argument)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        kept = [
            getattr(self, f"weight{index}") if isinstance(argument, torch.Tensor) else argument
            for index, argument in enumerate(self.arguments)
        ]
        return self.operator(*x, *kept)


def integers(*size: int, low: int = -128, high: int = 127, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(size))
    return torch.randint(low, high + 1, size, generator=generator).to(torch.int8)


def scales(outputs: int, depth: int) -> torch.Tensor:
    """Return scales that send most sums into the range of int8, and some beyond."""
    generator = torch.Generator().manual_seed(outputs)
    return (torch.rand(outputs, generator=generator) + 0.5) * (60 / (4000 * depth**0.5))


def convolution(
    channels: int, outputs: int, taps: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1,
    bits: int = 8, zero_point: int = -5, bias: bool = True,
) -> Call:  # fmt: skip
    """Return qconv with weights of `bits` bits."""
    limit = 2 ** (bits - 1)
    weight = integers(outputs, channels // groups, taps, taps, low=-limit, high=limit - 1, seed=bits)
    offsets = torch.randint(-3000, 3000, (outputs,), generator=torch.Generator().manual_seed(1)).int() if bias else None
    scale = scales(outputs, channels // groups * taps * taps) * 2 ** (8 - bits)
    geometry = ([stride] * 2, [padding] * 2, [dilation] * 2, groups)
    return Call(quantized.qconv, weight, offsets, scale, *geometry, zero_point, 7, -100, 120)


def signal(channels: int, outputs: int, taps: int, *, stride: int = 1, padding: int = 0, bits: int = 8) -> Call:
    """Return qconv in one dimension."""
    limit = 2 ** (bits - 1)
    weight = integers(outputs, channels, taps, low=-limit, high=limit - 1)
    scale = scales(outputs, channels * taps) * 2 ** (8 - bits)
    return Call(quantized.qconv, weight, None, scale, [stride], [padding], [1], 1, 9, -4, -128, 127)


def linear(inputs: int, outputs: int, bits: int, *, larger: float = 1.0) -> Call:
    """Return qlinear, with scales so many times too large."""
    limit = 2 ** (bits - 1)
    weight = integers(outputs, inputs, low=-limit, high=limit - 1)
    bias = torch.arange(outputs, dtype=torch.int32) * 100
    scale = scales(outputs, inputs) * 2 ** (8 - bits) * larger
    return Call(quantized.qlinear, weight, bias, scale, 11, -3, -128, 127)
