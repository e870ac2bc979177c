"""Recurrent cells: ONNX keeps one matrix for all gates and both directions, PyTorch one for each direction."""

from collections.abc import Sequence
from typing import Any

import torch

from prunus.frontend.builder import Value, dtype_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.onnx.values import Results
from prunus.passes.graph import aten

_GRU_GATES = (1, 0, 2)  # ONNX: update, reset, hidden; PyTorch: reset, update, hidden
_LSTM_GATES = (0, 2, 3, 1)  # ONNX: input, output, forget, cell; PyTorch: input, forget, cell, output


@operator("GRU")
def gru(build: Builder, op: Operation) -> Results:
    """Only with `linear_before_reset`, the form that PyTorch computes: n = tanh(W x + b + r * (R h + c))."""
    _check(op, ["Sigmoid", "Tanh"])
    if not op.attribute("linear_before_reset", 0):
        raise op.refuse("linear_before_reset=0", do="export the cell with reset_after=True (linear_before_reset=1)")
    return _Cell(build, op, _GRU_GATES).run(aten.gru.input, states=1)


@operator("LSTM")
def lstm(build: Builder, op: Operation) -> Results:
    _check(op, ["Sigmoid", "Tanh", "Tanh"])
    peepholes = op.optional(7)
    if op.attribute("input_forget", 0) or not (
        peepholes is None or (isinstance(peepholes, torch.Tensor) and not peepholes.any())
    ):
        raise op.refuse("peepholes or coupled gates")
    return _Cell(build, op, _LSTM_GATES).run(aten.lstm.input, states=2)


@operator("RNN")
def rnn(build: Builder, op: Operation) -> Results:
    activation = (op.attribute("activations") or ["Tanh"])[0]
    if activation not in ("Tanh", "Relu"):
        raise op.refuse(f"activation {activation}, of Tanh and Relu")
    _check(op, [activation])
    return _Cell(build, op, (0,)).run(aten.rnn_tanh.input if activation == "Tanh" else aten.rnn_relu.input, states=1)


def _check(op: Operation, activations: list[str]) -> None:
    directions = 2 if op.attribute("direction", "forward") == "bidirectional" else 1
    found = op.attribute("activations") or activations * directions
    if found != activations * directions:
        raise op.refuse(f"activations {found}, of {activations * directions}")
    if op.attribute("clip"):
        raise op.refuse("clipped gates")


class _Cell:
    """One ONNX cell on its way to PyTorch's operator."""

    def __init__(self, build: Builder, op: Operation, gates: Sequence[int]) -> None:
        self.build, self.op, self.gates = build, op, gates
        self.x, self.weight, self.recurrent = op.value(0), op.value(1), op.value(2)
        self.bias = op.optional(3)
        self.direction = op.attribute("direction", "forward")
        self.batch_first = bool(op.attribute("layout", 0))
        self.directions = 2 if self.direction == "bidirectional" else 1
        self.hidden = shape_of(self.recurrent)[-1]
        batch_axis, self.time_axis = (0, 1) if self.batch_first else (1, 0)
        self.batch, self.length = shape_of(self.x)[batch_axis], shape_of(self.x)[self.time_axis]

    def run(self, target: Any, *, states: int) -> list[Value]:
        """Return Y and the last states, in ONNX's order of axes.

        Args:
            target: the PyTorch operator.
            states: 2 for a cell with a memory beside its output, else 1.
        """
        build, x = self.build, self.x
        self._check_lengths()
        if self.direction == "reverse":
            x = build.call(aten.flip.default, x, [self.time_axis])
        initial = [self._initial(5 + index) for index in range(states)]
        parameters = [part for index in range(self.directions) for part in self._parameters(index)]
        steps = [self.batch, self.length] if self.batch_first else [self.length, self.batch]
        shapes = [(*steps, self.directions * self.hidden)] + states * [(self.directions, self.batch, self.hidden)]
        y, *last = build.call_many(
            target, x, initial if states > 1 else initial[0], parameters, self.bias is not None, 1, 0.0, False,
            self.directions == 2, self.batch_first, shapes=shapes,
        )  # fmt: skip
        if self.direction == "reverse":
            y = build.call(aten.flip.default, y, [self.time_axis])
        if self.batch_first:
            last = [build.call(aten.permute.default, state, [1, 0, 2]) for state in last]
        return [self._by_direction(y), *last]

    def _by_direction(self, y: Value) -> Value:
        """Return [length, directions, batch, hidden]; with batches first [batch, length, directions, hidden]."""
        build, rows = self.build, list(shape_of(y)[:2])
        if self.directions == 1:
            return build.call(aten.unsqueeze.default, y, 2 if self.batch_first else 1)
        parts = build.call(aten.reshape.default, y, [*rows, self.directions, self.hidden])
        return parts if self.batch_first else build.call(aten.permute.default, parts, [0, 2, 1, 3])

    def _initial(self, index: int) -> Value:
        state = self.op.optional(index)
        if state is None:
            return torch.zeros(self.directions, self.batch, self.hidden, dtype=dtype_of(self.x))
        return self.build.call(aten.permute.default, state, [1, 0, 2]) if self.batch_first else state

    def _parameters(self, index: int) -> list[Value]:
        """Return the weights and biases of one direction, gates in PyTorch's order."""
        reverse = "_reverse" if index == 1 or self.direction == "reverse" else ""
        parts = {"weight_ih": self._gates(self.weight, index, 0), "weight_hh": self._gates(self.recurrent, index, 0)}
        if self.bias is not None:
            parts["bias_ih"] = self._gates(self.bias, index, 0)
            parts["bias_hh"] = self._gates(self.bias, index, len(self.gates) * self.hidden)
        return [self._parameter(part, f"{name}_l0{reverse}") for name, part in parts.items()]

    def _gates(self, value: Value, index: int, offset: int) -> Value:
        build = self.build
        rows = build.call(aten.select.int, value, 0, index)
        starts = [offset + gate * self.hidden for gate in self.gates]
        parts = [build.call(aten.slice.Tensor, rows, 0, start, start + self.hidden) for start in starts]
        return build.call(aten.cat.default, parts, 0)

    def _parameter(self, value: Value, role: str) -> Value:
        if not isinstance(value, torch.Tensor):
            return value
        return self.build.constants.node(value, parameter=True, name=f"{self.op.module}.{role}")

    def _check_lengths(self) -> None:
        lengths = self.op.optional(4)
        full = isinstance(lengths, torch.Tensor) and bool((lengths == self.length).all())
        if lengths is not None and not full:
            raise self.op.refuse("sequences of different lengths", do="run one sequence at a time")
