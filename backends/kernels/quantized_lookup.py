"""Functions of one int8 variable as tables of 256 entries: `prunus::qlookup`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.fx import Node

from prunus.backends.kernels.emit import Index, Memory, address, kernel, load, loop, split, store
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.rows import memory_order
from prunus.backends.kernels.tir import T
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.passes.graph import is_op
from prunus.targets import Target

# Elements of one unit where everything is one loop.
_BLOCK = 4096


@dataclass(frozen=True)
class Lookup:
    """Problem: loops from the outermost to the innermost, strides over them."""

    sizes: tuple[int, ...]
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]


@dataclass(frozen=True)
class LookupKnob:
    """Way of computing: elements of one pass of the inner loop."""

    unroll: int


class LookupTable(Defaults):
    """The family; see the module's docstring."""

    name = "quantized_lookup"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, torch.ops.prunus.qlookup.default)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return memory_order(inputs[0])

    def match(self, request: Request, target: Target) -> Match | No:
        if 0 not in request.inputs or 1 not in request.constants:
            return No("its table must be constant, its input must not")
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        view, output = request.inputs[0], request.output
        nest = collapse(output.shape, [output.strides, view.strides], sort_by=0)
        sizes, strides = nest.sizes or (1,), [over or (0,) for over in nest.strides]
        problem = Lookup(sizes, strides[1], strides[0])
        return Match(problem, (view,), request.outputs, tensors=(request.constants[1],), shares=(0,))

    def knobs(self, problem: Lookup, target: Target) -> Sequence[LookupKnob]:
        return [LookupKnob(8), LookupKnob(4), LookupKnob(16)]

    def units(self, problem: Lookup, knob: LookupKnob) -> int:
        if len(problem.sizes) == 1:
            return -(-problem.sizes[0] // _BLOCK)
        return prod(problem.sizes[:-1])

    def estimate(self, problem: Lookup, knob: LookupKnob, target: Target) -> float:
        return prod(problem.sizes) * (1.5 + 1 / knob.unroll) + 4.0 * self.units(problem, knob)

    def emit(self, problem: Lookup, knob: LookupKnob, target: Target) -> Any:
        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            x, table, y = memories

            def one(indices: Sequence[Index]) -> None:
                value = load(x, address(indices, problem.input_strides))
                store(y, address(indices, problem.output_strides), load(table, T.cast(value, "int32") + 128))

            def row(outer: Sequence[Index], first: Index, count: Index, rest: int) -> None:
                with loop(0, count) as block:
                    for u in range(knob.unroll):
                        one([*outer, first + block * knob.unroll + u])
                for u in range(rest):
                    one([*outer, problem.sizes[-1] - rest + u])

            inner = problem.sizes[-1]
            with T.serial(begin, end) as unit:
                if len(problem.sizes) > 1:
                    row(split(unit, problem.sizes[:-1]), 0, inner // knob.unroll, inner % knob.unroll)
                else:
                    first = T.bind(unit * _BLOCK)
                    row([], first, T.bind(T.min(_BLOCK, inner - first) // knob.unroll), 0)
                    if inner % knob.unroll:
                        with T.If(unit == self.units(problem, knob) - 1), T.Then():
                            row([], first, 0, inner % knob.unroll)

        return kernel(target, ["int8", "int8", "int8"], body)
