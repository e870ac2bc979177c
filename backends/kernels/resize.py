"""Resizing images: `upsample_nearest2d` and `upsample_bilinear2d`.

Which rows and columns an output reads, and with which weights, is known beforehand: tables, packed like weights.
Channels are the vectors where they are neighbours in memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, address, kernel, load, spans, split, store
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import Math
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target

_NEAREST, _BILINEAR = aten.upsample_nearest2d.default, aten.upsample_bilinear2d.default


@dataclass(frozen=True)
class ResizedAxis:
    """One axis: `factor` as the model states it, None where only the sizes are known."""

    input_size: int
    output_size: int
    factor: float | None
    align_corners: bool

    def nearest(self) -> np.ndarray:
        """Return the input index of each output, int32 (output_size,): floor(i * step) in float32, as in PyTorch."""
        places = np.floor(np.arange(self.output_size, dtype=np.float32) * self._step())
        nearest: np.ndarray = np.minimum(places, self.input_size - 1).astype(np.int32)
        return nearest

    def bilinear(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return index below and above (int32) and the weight of the latter (float32), each (output_size,)."""
        outputs = np.arange(self.output_size, dtype=np.float32)
        if self.align_corners:
            step = np.float32((self.input_size - 1) / (self.output_size - 1) if self.output_size > 1 else 0.0)
            places = outputs * step
        else:
            places = np.maximum((outputs + np.float32(0.5)) * self._step() - np.float32(0.5), np.float32(0))
        low = np.minimum(places.astype(np.int32), self.input_size - 1)
        high = np.minimum(low + 1, self.input_size - 1)
        return low, high.astype(np.int32), np.clip(places - low, 0, 1).astype(np.float32)

    def _step(self) -> np.float32:
        """Return how far the input moves for one step of the output."""
        return np.float32(1 / self.factor if self.factor else self.input_size / self.output_size)


@dataclass(frozen=True)
class Resize:
    """Problem. Strides are over (batch, row, column, channel)."""

    batch: int
    channels: int
    rows: ResizedAxis
    columns: ResizedAxis
    bilinear: bool
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ResizeKnob:
    """Way of computing: lanes of a vector of channels."""

    lanes: int


class ResizeImage(Defaults):
    """The family; see the module's docstring."""

    name = "resize"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, _NEAREST, _BILINEAR)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None if view.strides[1] == 1 or view.shape[1] < 4 else channels_last(4)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank) if 0 in inputs and inputs[0].shape[1] >= 4 else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor = request.anchor
        assert anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        view, output, call = request.inputs[0], request.output, arguments(anchor)
        bilinear = is_op(anchor, _BILINEAR)
        if bilinear and output.buffer.dtype != "float32":
            return No(f"it averages {output.buffer.dtype}, only float32 is written")
        corners = bool(getattr(call, "align_corners", False))

        def lift(values: Sequence[int]) -> tuple[int, ...]:
            return (values[0], values[2], values[3], values[1])

        problem = Resize(
            batch=view.shape[0],
            channels=view.shape[1],
            rows=ResizedAxis(view.shape[2], output.shape[2], call.scales_h, corners),
            columns=ResizedAxis(view.shape[3], output.shape[3], call.scales_w, corners),
            bilinear=bilinear,
            input_strides=lift(view.strides),
            output_strides=lift(output.strides),
            dtype="uint8" if output.buffer.dtype == "bool" else output.buffer.dtype,
        )
        return Match(problem, (view,), request.outputs, macs=4 * math.prod(output.shape) if bilinear else 0)

    def knobs(self, problem: Resize, target: Target) -> Sequence[ResizeKnob]:
        return [ResizeKnob(target.lanes(8 * np.dtype(problem.dtype).itemsize))]

    def pack(self, problem: Resize, knob: ResizeKnob, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        """Return the tables: an index for each row and column, or two indices and a weight."""
        axes = (problem.rows, problem.columns)
        if not problem.bilinear:
            return tuple(axis.nearest() for axis in axes)
        return tuple(table for axis in axes for table in axis.bilinear())

    def units(self, problem: Resize, knob: ResizeKnob) -> int:
        return problem.batch * problem.rows.output_size

    def estimate(self, problem: Resize, knob: ResizeKnob, target: Target) -> float:
        pixels = problem.batch * problem.rows.output_size * problem.columns.output_size
        vectors = -(-problem.channels // knob.lanes) if problem.input_strides[3] == 1 else problem.channels
        return pixels * (vectors * (6.0 if problem.bilinear else 1.5) + 6.0)

    def emit(self, problem: Resize, knob: ResizeKnob, target: Target) -> Any:
        tables = ["int32", "int32", "float32"] * 2 if problem.bilinear else ["int32"] * 2

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            write = _write_bilinear if problem.bilinear else _write_nearest
            with T.serial(begin, end) as unit:
                n, row = split(unit, (problem.batch, problem.rows.output_size))
                write(problem, knob, memories, n, row)

        return kernel(target, [problem.dtype, *tables, problem.dtype], body)


def _write_nearest(problem: Resize, knob: ResizeKnob, memories: list[Memory], n: Any, row: Any) -> None:
    """Copy the pixels of one output row."""
    x, rows, columns, y = memories
    line = T.bind(address((n, load(rows, row)), problem.input_strides[:2]))
    with T.serial(0, problem.columns.output_size) as column:
        pixel = T.bind(line + load(columns, column) * problem.input_strides[2])
        for channel, lanes in spans(problem.channels, knob.lanes):
            value = load(x, pixel + channel * problem.input_strides[3], lanes, problem.input_strides[3])
            place = address((n, row, column, channel), problem.output_strides)
            store(y, place, value, lanes, problem.output_strides[3])


def _write_bilinear(problem: Resize, knob: ResizeKnob, memories: list[Memory], n: Any, row: Any) -> None:
    """Mix the pixels of two input rows to one output row: first along the columns, then along the rows."""
    x, low_rows, high_rows, row_weights, low_columns, high_columns, column_weights, y = memories
    strides = problem.input_strides
    lines = [T.bind(address((n, load(rows, row)), strides[:2])) for rows in (low_rows, high_rows)]
    down = T.bind(load(row_weights, row))
    with T.serial(0, problem.columns.output_size) as column:
        left, right = (T.bind(load(columns, column) * strides[2]) for columns in (low_columns, high_columns))
        along = T.bind(load(column_weights, column))
        for channel, lanes in spans(problem.channels, knob.lanes):
            m = Math("float32", lanes)

            def pixel(line: Any, side: Any, channel: Any = channel, lanes: int = lanes) -> Any:
                return T.bind(load(x, line + side + channel * strides[3], lanes, strides[3]))

            def mix(first: Any, second: Any, weight: Any, m: Math = m) -> Any:
                share = weight if m.lanes == 1 else T.broadcast(weight, m.lanes)
                return T.bind(first * (m(1) - share) + second * share)

            mixed = [mix(pixel(line, left), pixel(line, right), along) for line in lines]
            place = address((n, row, column, channel), problem.output_strides)
            store(y, place, mix(mixed[0], mixed[1], down), lanes, problem.output_strides[3])
