"""Recurrent layers."""

from collections.abc import Sequence
from typing import Any

import keras
import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, name_of, rule
from prunus.passes.graph import aten


@rule(
    "layers.LSTM", "layers.GRU", "layers.SimpleRNN", "layers.RNN", "layers.ConvLSTM1D", "layers.ConvLSTM2D",
    "layers.ConvLSTM3D",
)  # fmt: skip
def recurrent(build: Builder, call: Call) -> Any:
    """PyTorch's operator where the cell is PyTorch's, else the cell's steps, one after another."""
    if call.stateful:
        raise call.refuse(
            "it keeps its state between calls (stateful=True)", expected="a state that is input and output",
            do="make the model again with initial_state= as an input and return_state=True",
        )  # fmt: skip
    x, initial, mask = call.x, call.argument(1, "initial_state"), call.argument(2, "mask")
    states = _initial(build, call, x) if initial is None else [build.value(s) for s in keras.tree.flatten(initial)]
    if call.go_backwards:
        x = build.call(aten.flip.default, x, [1])
        mask = None if mask is None else build.call(aten.flip.default, mask, [1])
    target = None if mask is not None else _torch_operator(call.cell)
    if target is None:
        steps, states = _unrolled(build, call, x, states, mask)
    else:
        steps, states = _as_operator(build, call, target, x, states)
    y = steps if call.return_sequences else build.call(aten.select.int, steps, 1, shape_of(steps)[1] - 1)
    return (y, *states) if call.return_state else y


@rule("layers.Bidirectional")
def bidirectional(build: Builder, call: Call) -> Any:
    """The backward layer goes backwards itself; its sequence is turned round to meet the forward one."""
    forward, backward = call.forward_layer, call.backward_layer
    initial, mask = call.argument(1, "initial_state"), call.argument(2, "mask")
    kwargs = {} if mask is None else {"mask": mask}
    ahead, behind = {**kwargs}, {**kwargs}
    if initial is not None:
        half = len(initial) // 2
        ahead["initial_state"], behind["initial_state"] = initial[:half], initial[half:]
    y, *states = keras.tree.flatten(build.run(forward, call.x, **ahead))
    z, *more = keras.tree.flatten(build.run(backward, call.x, **behind))
    if call.return_sequences:
        z = build.call(aten.flip.default, z, [1])
    merged: tuple[Value, ...]
    match call.merge_mode:
        case "concat":
            merged = (build.call(aten.cat.default, [y, z], -1),)
        case "sum":
            merged = (build.call(aten.add.Tensor, y, z),)
        case "ave":
            merged = (build.call(aten.mul.Tensor, build.call(aten.add.Tensor, y, z), 0.5),)
        case "mul":
            merged = (build.call(aten.mul.Tensor, y, z),)
        case _:
            merged = (y, z)
    results = (*merged, *states, *more) if call.return_state else merged
    return results if len(results) > 1 else results[0]


@rule("layers.TimeDistributed")
def time_distributed(build: Builder, call: Call) -> Value:
    """Time steps become samples of one batch."""
    if call.argument(2, "mask") is not None:
        raise call.refuse("a mask")
    sizes = shape_of(call.x)
    joined = arithmetic.reshape(build, call.x, [sizes[0] * sizes[1], *sizes[2:]])
    y = build.run(call.layer, joined)
    return arithmetic.reshape(build, y, [*sizes[:2], *shape_of(y)[1:]])


def _initial(build: Builder, call: Call, x: Value) -> list[Value]:
    states = call.operation.get_initial_state(batch_size=shape_of(x)[0])
    return [build.value(state) for state in keras.tree.flatten(states)]


def _torch_operator(cell: Any) -> Any:
    """Return the PyTorch operator that computes a cell, None where there is none."""
    activations = keras.activations
    gates = getattr(cell, "recurrent_activation", activations.sigmoid) is activations.sigmoid
    match name_of(cell):
        case "layers.LSTMCell" if gates and cell.activation is activations.tanh:
            return aten.lstm.input
        case "layers.GRUCell" if gates and cell.activation is activations.tanh and cell.reset_after:
            return aten.gru.input
        case "layers.SimpleRNNCell" if cell.activation is activations.tanh:
            return aten.rnn_tanh.input
        case "layers.SimpleRNNCell" if cell.activation is activations.relu:
            return aten.rnn_relu.input
    return None


def _as_operator(build: Builder, call: Call, target: Any, x: Value, states: list[Value]) -> tuple[Value, list[Value]]:
    """Keras has the gates of an LSTM in PyTorch's order; those of a GRU are z, r, h there and r, z, n here.

    PyTorch adds two biases; Keras has one but in a GRU that resets after the product.
    """
    cell, hidden = call.cell, shape_of(states[0])[-1]
    gates = [1, 0, 2] if target is aten.gru.input else None
    parameters = [
        build.parameter(_by_gate(build.value(kernel).t(), gates, hidden), role)
        for kernel, role in ((cell.kernel, "kernel"), (cell.recurrent_kernel, "recurrent_kernel"))
    ]
    if cell.use_bias:
        bias = build.value(cell.bias)
        both = list(bias) if bias.dim() == 2 else [bias, torch.zeros_like(bias)]
        roles = ("bias", "recurrent_bias")
        parameters += [build.parameter(_by_gate(b, gates, hidden), role) for b, role in zip(both, roles, strict=True)]
    batch, length = shape_of(x)[:2]
    first = [build.call(aten.unsqueeze.default, state, 0) for state in states]
    shapes = [(batch, length, hidden), *((1, batch, hidden) for _ in states)]
    steps, *last = build.call_many(
        target, x, first if len(states) > 1 else first[0], parameters, bool(cell.use_bias), 1, 0.0, False, False, True,
        shapes=shapes,
    )  # fmt: skip
    return steps, [build.call(aten.select.int, state, 0, 0) for state in last]


def _by_gate(rows: torch.Tensor, gates: Sequence[int] | None, hidden: int) -> torch.Tensor:
    if gates is None:
        return rows
    return torch.cat([rows[gate * hidden : (gate + 1) * hidden] for gate in gates])


def _unrolled(
    build: Builder, call: Call, x: Value, states: list[Value], mask: Value | None
) -> tuple[Value, list[Value]]:
    """Return the outputs of all steps, [batch, length, ...], and the last states; a masked step leaves all as it was.

    Its output is that of the step before, zeros ahead of the first one or if the layer asks for them.
    """
    outputs: list[Value] = []
    structure = call.operation.get_initial_state(batch_size=shape_of(x)[0])
    structure = structure[0] if len(structure) == 1 and not keras.tree.is_nested(structure[0]) else structure
    for step in range(shape_of(x)[1]):
        packed = keras.tree.pack_sequence_as(structure, states) if keras.tree.is_nested(structure) else states[0]
        given = packed if keras.tree.is_nested(packed) else [packed]
        output, new = build.run(call.cell, build.call(aten.select.int, x, 1, step), given)
        after = keras.tree.flatten(new)
        if mask is not None:
            seen = build.call(aten.select.int, arithmetic.cast(build, mask, torch.bool), 1, step)
            silent = call.zero_output_for_mask or not outputs
            before = torch.zeros(shape_of(output), dtype=dtype_of(output)) if silent else outputs[-1]
            output = _chosen(build, seen, output, before)
            after = [_chosen(build, seen, late, early) for late, early in zip(after, states, strict=True)]
        states = after
        outputs.append(output)
    return build.call(aten.stack.default, outputs, 1), states


def _chosen(build: Builder, seen: Value, new: Value, old: Value) -> Value:
    condition = arithmetic.reshape(build, seen, [shape_of(seen)[0], *(1,) * (rank_of(new) - 1)])
    return build.call(aten.where.self, condition, new, old)
