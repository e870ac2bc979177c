"""Recurrent layers: GRU, LSTM and plain ones, one layer in one direction, the whole sequence in one call.

Time is a loop inside the kernel. Each step multiplies the state by the packed weights, a block of hidden units with all
of its gates at a time, and then turns the products into the next state. Several sequences of a batch share each weight
that is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

# Registers the operators that this family computes.
import prunus.passes.operators.recurrent  # noqa: F401
from prunus.backends.kernels.emit import Memory, Registers, kernel, load, loop, spans, store, when
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.recurrent_cells import CELLS
from prunus.backends.kernels.tiling import Columns, accumulator_limit
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import Math, splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import is_op
from prunus.targets import Target

# Bytes that one core reads from its second-level cache in a cycle, on all processors that we know of, at most.
_L2_BYTES_PER_CYCLE = 32

# Cycles from a multiply-add to the next one on the same register.
_LATENCY = 4


@dataclass(frozen=True)
class Start:
    """Where a state comes from: read with a stride over the batch, a packed constant, or zeros (`zero`)."""

    stride: int = 0
    constant: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Recurrent:
    """Problem. Strides are in elements; the last dimension of everything is dense.

    Attributes:
        cell: key of `CELLS`.
        gate_strides, output_strides: over (step, batch).
        starts: the states before the first step.
        last_strides: over the batch, of each last state.
        biased: the cell has a bias inside of its product (GRU's third gate).
    """

    cell: str
    steps: int
    batch: int
    hidden: int
    reverse: bool
    gate_strides: tuple[int, int]
    starts: tuple[Start, ...]
    output_strides: tuple[int, int]
    last_strides: tuple[int, ...]
    biased: bool


@dataclass(frozen=True)
class RecurrentKnob:
    """Way of computing: `rows` sequences by `vectors` registers of hidden units for each gate.

    `chains`: sums that each register is split into, so that multiply-adds need not wait for each other.
    """

    lanes: int
    rows: int
    vectors: int
    chains: int


class RecurrentLayer(Defaults):
    """The family; see the module's docstring."""

    name = "recurrent"

    def claims(self, anchor: Node) -> bool:
        ops = torch.ops.prunus
        return is_op(anchor, ops.gru_layer.default, ops.lstm_layer.default, ops.rnn_layer.default)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None if view.strides[-1] == 1 else tuple(range(len(view.shape)))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor = request.anchor
        assert anchor is not None
        call = arguments(anchor)
        cell = getattr(call, "activation", str(anchor.target).split(".")[1].removesuffix("_layer"))
        names = [argument.name for argument in anchor.target._schema.arguments]  # type: ignore[union-attr]
        weight = request.constants.get(names.index("weight"))
        bias_at = names.index("new_bias") if "new_bias" in names else -1
        if weight is None or (bias_at in request.inputs):
            return No("its weights are not constants")
        if not isinstance(request.epilogue, Accumulator):
            return No("its states are needed as they are, nothing can be fused behind it")
        gates, output, *lasts = request.inputs[0], *request.outputs
        if any(view.strides[-1] != 1 for view in (gates, *request.inputs.values(), *request.outputs)):
            return No("hidden units are not neighbours in memory")
        positions = [names.index(name) for name in ("hidden", "cell") if name in names]
        starts = tuple(_start(request, position) for position in positions)
        steps, batch, hidden = output.shape
        tensors = [request.constants[p] for p, start in zip(positions, starts, strict=True) if start.constant]
        problem = Recurrent(
            cell=cell,
            steps=steps,
            batch=batch,
            hidden=hidden,
            reverse=call.reverse,
            gate_strides=(gates.strides[0], gates.strides[1]),
            starts=starts,
            output_strides=(output.strides[0], output.strides[1]),
            last_strides=tuple(view.strides[0] for view in lasts),
            biased=bias_at in request.constants,
        )
        return Match(
            problem,
            reads=(gates, *(request.inputs[position] for position in positions if position in request.inputs)),
            outputs=request.outputs,
            tensors=(weight, *([request.constants[bias_at]] if problem.biased else []), *tensors),
            macs=steps * batch * hidden * weight.shape[0],
        )

    def knobs(self, problem: Recurrent, target: Target) -> Sequence[RecurrentKnob]:
        lanes, gates, limit = target.lanes(), CELLS[problem.cell].gates, accumulator_limit(target)
        found = []
        for vectors in range(1, 1 + min(limit // gates, -(-problem.hidden // lanes))):
            rows = min(problem.batch, max(1, (limit - gates * vectors) // (gates * vectors)))
            for chains in (1, 2, 4):
                if chains == 1 or gates * vectors * rows * chains <= limit:
                    found.append(RecurrentKnob(lanes, rows, vectors, chains))
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def pack(self, problem: Recurrent, knob: RecurrentKnob, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        gates = CELLS[problem.cell].gates
        weight, *others = (tensor.detach().numpy() for tensor in tensors)
        rows = weight.reshape(gates, problem.hidden, problem.hidden).transpose(2, 0, 1)
        packed = _columns(problem, knob).pack(rows.reshape(-1, problem.hidden))
        return (packed, *(np.ascontiguousarray(other) for other in others))

    def units(self, problem: Recurrent, knob: RecurrentKnob) -> int:
        return -(-problem.batch // knob.rows)

    def scratch_bytes(self, problem: Recurrent, knob: RecurrentKnob) -> int:
        products = CELLS[problem.cell].gates * _columns(problem, knob).padded
        return 4 * knob.rows * (problem.hidden * len(problem.starts) + products)

    def estimate(self, problem: Recurrent, knob: RecurrentKnob, target: Target) -> float:
        cell, columns = CELLS[problem.cell], _columns(problem, knob)
        weight_bytes = 4 * cell.gates * problem.hidden**2
        rate = max(1.0, target.fma_per_cycle / knob.lanes)
        cycles = 0.0
        for tail in columns.kinds():
            registers = cell.gates * len(columns.widths(tail))
            step = max(knob.rows * registers / rate, (registers + knob.rows) / 2, _LATENCY / knob.chains)
            if weight_bytes > target.cache.l1_bytes // 2:
                step = max(step, 4 * registers * knob.lanes / _L2_BYTES_PER_CYCLE)
            # Sums of several chains are added, then come the gates; blocks overlap but for their ends.
            ends = (
                knob.chains * registers * knob.rows + cell.operations * registers / cell.gates * knob.rows / rate + 30
            )
            cycles += (problem.hidden * step + ends) * (1 if tail else columns.full)
        return problem.steps * self.units(problem, knob) * cycles

    def emit(self, problem: Recurrent, knob: RecurrentKnob, target: Target) -> Any:
        pointers = (
            2 + problem.biased + sum(not start.zero for start in problem.starts) + 1 + len(problem.last_strides) + 1
        )

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            _Emitter(problem, knob, memories).run(begin, end)

        return kernel(target, ["float32"] * pointers, body)


def _columns(problem: Recurrent, knob: RecurrentKnob) -> Columns:
    return Columns(problem.hidden, knob.lanes, knob.vectors)


def _start(request: Request, position: int) -> Start:
    if position in request.inputs:
        return Start(stride=request.inputs[position].strides[0])
    if not bool(request.constants[position].any()):
        return Start(zero=True)
    return Start(stride=request.constants[position].shape[1], constant=True)


class _Emitter:
    """Writes the loops of one layer."""

    def __init__(self, problem: Recurrent, knob: RecurrentKnob, memories: list[Memory]) -> None:
        self.problem, self.knob, self.cell = problem, knob, CELLS[problem.cell]
        self.columns = _columns(problem, knob)
        rest = iter(memories)
        self.gates = next(rest)
        read = {i: next(rest) for i, start in enumerate(problem.starts) if not start.zero and not start.constant}
        self.weight = next(rest)
        self.bias = next(rest) if problem.biased else None
        packed = {i: next(rest) for i, start in enumerate(problem.starts) if start.constant}
        self.starts = read | packed
        self.output = next(rest)
        self.lasts = [next(rest) for _ in problem.last_strides]
        self.scratch = next(rest)

    def run(self, begin: Any, end: Any) -> None:
        """One unit is `rows` sequences of the batch, the last one those that are left."""
        full, rest = divmod(self.problem.batch, self.knob.rows)
        with T.serial(begin, end) as unit:
            if full:
                with when(True if rest == 0 else unit < full):
                    self._sequences(T.bind(unit * self.knob.rows), self.knob.rows)
            if rest:
                with when(True if full == 0 else unit >= full):
                    self._sequences(full * self.knob.rows, rest)

    def _sequences(self, first: Any, rows: int) -> None:
        """Run `rows` sequences. Scratch holds each state, then the products of one step by row and gate."""
        problem, size = self.problem, self.problem.hidden
        for index, start in enumerate(problem.starts):
            with loop(0, rows) as row:
                source_at = (first + row) * start.stride
                self._copy(self.starts.get(index), source_at, self.scratch, (index * rows + row) * size)
        with T.serial(0, problem.steps) as step:
            now = T.bind(problem.steps - 1 - step) if problem.reverse else step
            for tail in self.columns.kinds():
                with loop(self.columns.full, self.columns.blocks) if tail else loop(0, self.columns.full) as block:
                    self._product(block, tail, rows)
            with loop(0, rows) as row:
                self._states(row, rows, first + row, now)
        for index, (last, stride) in enumerate(zip(self.lasts, problem.last_strides, strict=True)):
            with loop(0, rows) as row:
                self._copy(self.scratch, (index * rows + row) * size, last, (first + row) * stride)

    def _copy(self, source: Memory | None, source_at: Any, sink: Memory, sink_at: Any) -> None:
        """Copy the hidden units of one sequence, zeros where there is no source."""
        for unit, lanes in spans(self.problem.hidden, self.knob.lanes):
            value = splat(0.0, "float32", lanes) if source is None else load(source, source_at + unit, lanes)
            store(sink, sink_at + unit, value, lanes)

    def _product(self, block: Any, tail: bool, rows: int) -> None:
        """Multiply the states by the weights of one block of hidden units, all gates."""
        size, gates, chains = self.problem.hidden, self.cell.gates, self.knob.chains
        widths = self.columns.widths(tail) * gates
        starts = [sum(widths[:index]) for index in range(len(widths))]
        sums = Registers(len(widths) * rows * chains, widths * (rows * chains))
        for index in range(len(widths) * rows * chains):
            sums[index] = splat(0.0, "float32", widths[index % len(widths)])
        base = T.bind(block * (size * gates * self.columns.block))

        def multiply(unit: Any, chain: int) -> None:
            line = T.bind(base + unit * sum(widths))
            weights = [T.bind(load(self.weight, line + starts[v], widths[v])) for v in range(len(widths))]
            for row in range(rows):
                state = T.bind(load(self.scratch, row * size + unit))
                for v, width in enumerate(widths):
                    index = (chain * rows + row) * len(widths) + v
                    x = state if width == 1 else T.broadcast(state, width)
                    sums[index] = Math("float32", width).fma(x, weights[v], sums[index])

        unrolled = max(chains, 4 if rows == 1 else 1)
        if size >= unrolled:
            with T.serial(0, size // unrolled) as group:
                for index in range(unrolled):
                    multiply(group * unrolled + index, index % chains)
        for index in range(size % unrolled):
            multiply(size - size % unrolled + index, index % chains)
        for row in range(rows):
            for v, width in enumerate(widths):
                total = sums[row * len(widths) + v]
                for chain in range(1, chains):
                    total = T.bind(total + sums[(chain * rows + row) * len(widths) + v])
                gate, offset = divmod(starts[v], sum(widths) // gates)
                store(
                    self.scratch, self._product_at(row, rows, gate) + block * self.columns.block + offset, total, width
                )

    def _product_at(self, row: Any, rows: int, gate: int) -> Any:
        return (
            rows * len(self.problem.starts) * self.problem.hidden + (row * self.cell.gates + gate) * self.columns.padded
        )

    def _states(self, row: Any, rows: int, sequence: Any, now: Any) -> None:
        """Turn the products of one sequence into its next states."""
        problem, cell, size = self.problem, self.cell, self.problem.hidden
        gate_row = T.bind(now * problem.gate_strides[0] + sequence * problem.gate_strides[1])
        output_row = T.bind(now * problem.output_strides[0] + sequence * problem.output_strides[1])
        product_rows = [T.bind(self._product_at(row, rows, gate)) for gate in range(cell.gates)]
        state_rows = [T.bind((index * rows + row) * size) for index in range(len(problem.starts))]
        for unit, lanes in spans(size, self.knob.lanes):
            gates = [T.bind(load(self.gates, gate_row + gate * size + unit, lanes)) for gate in range(cell.gates)]
            products = [T.bind(load(self.scratch, product + unit, lanes)) for product in product_rows]
            if self.bias is not None:
                products[-1] = T.bind(products[-1] + load(self.bias, unit, lanes))
            states = [T.bind(load(self.scratch, state + unit, lanes)) for state in state_rows]
            new = cell.step(gates, products, states, Math("float32", lanes))
            for state, value in zip(state_rows, new, strict=True):
                store(self.scratch, state + unit, value, lanes)
            store(self.output, output_row + unit, new[0], lanes)
