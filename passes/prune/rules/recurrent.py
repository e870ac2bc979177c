"""Recurrent layers: hidden unit j owns row j of every gate."""

from types import SimpleNamespace

import numpy as np
from torch.fx import Node

from prunus.passes.graph import aten
from prunus.passes.operators.recurrent import gru_layer, lstm_layer, rnn_layer
from prunus.passes.prune.atoms import Dims, Labels
from prunus.passes.prune.rules.registry import Scope, rule

NETWORKS = (aten.gru.input, aten.lstm.input, aten.rnn_tanh.input, aten.rnn_relu.input)
LAYERS = tuple(layer._opoverload for layer in (gru_layer, lstm_layer, rnn_layer))


@rule(*NETWORKS)
def network(scope: Scope, call: SimpleNamespace) -> tuple[Dims, ...] | None:
    """All layers and both directions share their hidden units: the operator takes one size for all."""
    directions = 2 if call.bidirectional else 1
    count = 4 if call.has_biases else 2
    if len(call.params) != call.num_layers * directions * count:
        return None  # projected states (proj_size)
    states = [scope.of(state) for state in (call.hx if isinstance(call.hx, list | tuple) else [call.hx])]
    hidden = states[0][2]
    for state in states:
        scope.unify(state[2], hidden)
        scope.freeze(state[0], "layers and directions stay")
    first, second, features = scope.of(call.input)
    both = np.tile(hidden, directions)
    for index in range(call.num_layers * directions):
        inputs = features if index < directions else both
        _layer(scope, call.params[index * count : (index + 1) * count], inputs, hidden)
    batch = first if call.batch_first else second
    scope.freeze(second if call.batch_first else first, "steps follow each other")
    for state in states:
        scope.unify(state[1], batch)
    return ((first, second, both), *states)


def _layer(scope: Scope, params: list[Node], inputs: Labels, hidden: Labels) -> None:
    input_weight, weight, *biases = params
    gates = np.tile(hidden, len(scope.of(weight)[0]) // len(hidden))
    scope.unify(scope.of(input_weight)[0], gates)
    scope.unify(scope.of(input_weight)[1], inputs)
    scope.unify(scope.of(weight)[0], gates)
    scope.unify(scope.of(weight)[1], hidden)
    for bias in biases:
        scope.unify(scope.of(bias)[0], gates)
    for matrix in (input_weight, weight):
        scope.role(matrix, 0, "out")
        scope.role(matrix, 1, "in")


@rule(*LAYERS)
def one_layer(scope: Scope, call: SimpleNamespace) -> tuple[Dims, ...]:
    """One layer in one direction (`passes/operators/recurrent.py`); the product with the inputs stands before it."""
    steps, batch, rows = scope.of(call.gates)
    hidden = scope.of(call.hidden)
    states = [hidden, *([scope.of(call.cell)] if hasattr(call, "cell") else [])]
    weight = scope.of(call.weight)
    gates = np.tile(hidden[1], len(rows) // len(hidden[1]))
    scope.unify(rows, gates)
    scope.unify(weight[0], gates)
    scope.unify(weight[1], hidden[1])
    if getattr(call, "new_bias", None) is not None:
        scope.unify(scope.of(call.new_bias)[0], hidden[1])
    for state in states:
        scope.unify(state[0], batch)
        scope.unify(state[1], hidden[1])
    scope.freeze(steps, "steps follow each other")
    scope.role(call.weight, 0, "out")
    scope.role(call.weight, 1, "in")
    return ((steps, batch, hidden[1]), *states)
