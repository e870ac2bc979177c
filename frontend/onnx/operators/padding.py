"""Padding in every mode and along every axis."""

from collections.abc import Sequence

import torch

from prunus.frontend.builder import Value, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.passes.graph import aten

_TORCH_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad_value(
    build: Builder, x: Value, begin: Sequence[int], end: Sequence[int], mode: str, number: float | int | bool = 0
) -> Value:
    """Return `x` padded (cut, where negative) by `begin` and `end`, one number for each axis.

    Args:
        mode: ONNX's `constant`, `reflect`, `edge` or `wrap`.
        number: what `constant` pads with.
    """
    padded = [axis for axis in range(rank_of(x)) if begin[axis] or end[axis]]
    if not padded:
        return x
    flat = [pad for axis in range(rank_of(x) - 1, min(padded) - 1, -1) for pad in (begin[axis], end[axis])]
    if mode == "constant":
        return build.call(aten.constant_pad_nd.default, x, flat, number)
    spatial = rank_of(x) - min(padded)
    if rank_of(x) - spatial in (1, 2) and spatial <= 3 and min(flat) >= 0:
        return build.call(aten.pad.default, x, flat, _TORCH_MODES[mode])
    for axis in padded:
        places = _places(shape_of(x)[axis], begin[axis], end[axis], mode)
        x = build.call(aten.index_select.default, x, axis, places)
    return x


def _places(size: int, begin: int, end: int, mode: str) -> torch.Tensor:
    """Return which element stands at each place of the padded axis."""
    places = torch.arange(-begin, size + end)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places.remainder(size)
    period = max(2 * (size - 1), 1)
    places = places.remainder(period)
    return torch.where(places < size, places, period - places)
