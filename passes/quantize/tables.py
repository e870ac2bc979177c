"""Functions of one int8 variable as tables of 256 entries."""

from collections.abc import Callable

import torch
from torch import Tensor

from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW, dequantize, quantize
from prunus.passes.quantize.grid import Grid


def tabulate(function: Callable[[Tensor], Tensor], source: Grid, result: Grid) -> Tensor:
    """Return `quantize(function(dequantize(x)))` for x from -128 to 127, (256,) int8."""
    every = torch.arange(INT8_LOW, INT8_HIGH + 1, dtype=torch.int8)
    with torch.no_grad():
        real = function(dequantize(every, source.scale, source.zero_point))
    table: Tensor = quantize(real, result.scale, result.zero_point)
    return table


def requantizing(source: Grid, result: Grid) -> Tensor:
    """Return the table from one grid to another."""
    return tabulate(lambda x: x, source, result)
