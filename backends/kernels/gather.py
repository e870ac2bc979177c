"""Picking elements by indices that are only known at run time: `embedding`, `index_select` and `gather`.

All three are one loop nest, out[o] = x[strides . o + index[...] * stride]; rows that lie together are vectors.
An index outside of the table is moved to its nearest end: PyTorch raises there, a library must not read foreign memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, address, kernel, load, spans, split, store
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.scalar_rules import dtype_name
from prunus.backends.kernels.tir import T
from prunus.backends.plan.layout import DimOrder, contiguous
from prunus.backends.plan.program import View
from prunus.backends.plan.views import order_of
from prunus.passes.graph import aten, is_op
from prunus.targets import Target


@dataclass(frozen=True)
class Gather:
    """Problem: loops from the outermost to the innermost, and strides over them.

    Attributes:
        index_strides: of the tensor of indices; 0 where the loop is over elements that are picked together.
        picked_stride, picked_size: of the dimension that is indexed.
        table_first: the table stands before the indices among the kernel's parameters.
    """

    sizes: tuple[int, ...]
    output_strides: tuple[int, ...]
    source_strides: tuple[int, ...]
    index_strides: tuple[int, ...]
    picked_stride: int
    picked_size: int
    dtype: str
    index_dtype: str
    table_first: bool


@dataclass(frozen=True)
class GatherKnob:
    """Way of computing: lanes of a copy."""

    lanes: int


@dataclass(frozen=True)
class _Source:
    """A tensor that is read: a view, or a constant that is packed as it is."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    constant: bool


class GatherRows(Defaults):
    """The family; see the module's docstring."""

    name = "gather"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.embedding.default, aten.index_select.default, aten.gather.default)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        moves = is_op(anchor, aten.index_select.default, aten.gather.default) and 0 in inputs
        return order_of(inputs[0]) if moves else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        embeds = is_op(anchor, aten.embedding.default)
        at = 1 if embeds else 2
        table, index = _source(request, 0), _source(request, at)
        rank = len(output.shape)
        if embeds:
            dim = 0
            source_strides = (*(0,) * (rank - 1), table.strides[1])
            index_strides = (*index.strides, 0)
        else:
            dim = int(anchor.args[1]) % len(table.shape)  # type: ignore[arg-type]
            source_strides = tuple(0 if d == dim else table.strides[d] for d in range(rank))
            selects = is_op(anchor, aten.index_select.default)
            index_strides = (
                tuple((index.strides or (0,))[0] if d == dim else 0 for d in range(rank)) if selects else index.strides
            )
        nest = collapse(output.shape, [output.strides, source_strides, index_strides], sort_by=0)
        strides = [over or (0,) for over in nest.strides]
        problem = Gather(
            sizes=nest.sizes or (1,),
            output_strides=strides[0],
            source_strides=strides[1],
            index_strides=strides[2],
            picked_stride=table.strides[dim],
            picked_size=table.shape[dim],
            dtype=_stored(table.dtype),
            index_dtype=index.dtype,
            table_first=not table.constant or index.constant,
        )
        reads = tuple(request.inputs[position] for position in (0, at) if position in request.inputs)
        tensors = tuple(request.constants[position] for position in (0, at) if position in request.constants)
        return Match(problem, reads, request.outputs, tensors=tensors)

    def knobs(self, problem: Gather, target: Target) -> Sequence[GatherKnob]:
        return [GatherKnob(target.lanes(8 * np.dtype(problem.dtype).itemsize))]

    def units(self, problem: Gather, knob: GatherKnob) -> int:
        return math.prod(problem.sizes[:-1]) if len(problem.sizes) > 1 else problem.sizes[0]

    def estimate(self, problem: Gather, knob: GatherKnob, target: Target) -> float:
        elements = math.prod(problem.sizes)
        by_vectors = problem.index_strides[-1] == 0 and problem.source_strides[-1] == 1
        return elements / (knob.lanes if by_vectors else 0.5) + 6.0 * self.units(problem, knob)

    def emit(self, problem: Gather, knob: GatherKnob, target: Target) -> Any:
        dtypes = [problem.dtype, problem.index_dtype] if problem.table_first else [problem.index_dtype, problem.dtype]

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            table, index = memories[:2] if problem.table_first else memories[1::-1]
            output = memories[2]

            def picked(indices: Sequence[Any]) -> Any:
                found = load(index, address(indices, problem.index_strides))
                size = T.cast(problem.picked_size - 1, problem.index_dtype)
                kept = T.max(T.min(found, size), T.cast(0, problem.index_dtype))
                return T.bind(T.cast(kept, "int32") * problem.picked_stride)

            with T.serial(begin, end) as unit:
                if len(problem.sizes) == 1:
                    value = load(table, picked([unit]) + address([unit], problem.source_strides))
                    store(output, address([unit], problem.output_strides), value)
                    return
                outer = split(unit, problem.sizes[:-1])
                row = problem.index_strides[-1] == 0
                start = picked([*outer, 0]) if row else 0
                for inner, lanes in spans(problem.sizes[-1], knob.lanes if row else 1):
                    place = [*outer, inner]
                    source = (start if row else picked(place)) + address(place, problem.source_strides)
                    value = load(table, source, lanes, problem.source_strides[-1])
                    store(output, address(place, problem.output_strides), value, lanes, problem.output_strides[-1])

        return kernel(target, [*dtypes, problem.dtype], body)


def _source(request: Request, position: int) -> _Source:
    if position in request.inputs:
        view = request.inputs[position]
        return _Source(view.shape, view.strides, view.buffer.dtype, False)
    tensor = request.constants[position]
    return _Source(tuple(tensor.shape), contiguous(tensor.shape), dtype_name(tensor.dtype), True)


def _stored(dtype: str) -> str:
    """Truth values are copied as the bytes that they are."""
    return "uint8" if dtype == "bool" else dtype
