"""One layer of a recurrent network in one direction, as operators of a graph.

The reference implementations here define what kernels compute. The product of the inputs with their weights is no part
of these operators: over all steps at once it is one matrix product, an `aten.linear` of its own.
"""

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("prunus::gru_layer", mutates_args=())
def gru_layer(
    gates: Tensor, hidden: Tensor, weight: Tensor, new_bias: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Run a gated recurrent unit over a sequence.

        reset, update, new = gates[t] split in three
        reset  = sigmoid(reset + W_r h)
        update = sigmoid(update + W_z h)
        new    = tanh(new + reset * (W_n h + new_bias))
        h      = (1 - update) * new + update * h

    Args:
        gates: (steps, batch, 3 hidden) float32, inputs times input weights plus all biases but `new_bias`.
        hidden: (batch, hidden), the state before the first step.
        weight: (3 hidden, hidden), W_r, W_z and W_n one below the other.
        new_bias: (hidden,), None for zeros.
        reverse: run from the last step to the first.

    Returns:
        The state after each step, (steps, batch, hidden), in the order of the inputs, and the last, (batch, hidden).
    """
    state, states = hidden, []
    for step in _order(gates, reverse):
        reset, update, new = step.chunk(3, dim=1)
        from_reset, from_update, from_new = (state @ weight.t()).chunk(3, dim=1)
        if new_bias is not None:
            from_new = from_new + new_bias
        keep = torch.sigmoid(update + from_update)
        new = torch.tanh(new + torch.sigmoid(reset + from_reset) * from_new)
        state = (1 - keep) * new + keep * state
        states.append(state)
    return _stack(states, reverse), state.clone()


@gru_layer.register_fake
def _(gates: Tensor, hidden: Tensor, weight: Tensor, new_bias: Tensor | None, reverse: bool) -> tuple[Tensor, Tensor]:
    steps, batch, size = gates.shape
    return gates.new_empty(steps, batch, size // 3), gates.new_empty(batch, size // 3)


@torch.library.custom_op("prunus::lstm_layer", mutates_args=())
def lstm_layer(
    gates: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Run long short-term memory over a sequence.

        input, forget, new, output = gates[t] + W h, split in four
        c = sigmoid(forget) * c + sigmoid(input) * tanh(new)
        h = sigmoid(output) * tanh(c)

    Args:
        gates: (steps, batch, 4 hidden) float32, inputs times input weights plus all biases.
        hidden, cell: (batch, hidden), h and c before the first step.
        weight: (4 hidden, hidden), rows in the order of the gates.
        reverse: run from the last step to the first.

    Returns:
        h after each step, (steps, batch, hidden), in the order of the inputs, and the last h and c, (batch, hidden).
    """
    states = []
    for step in _order(gates, reverse):
        enter, forget, new, leave = (step + hidden @ weight.t()).chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        states.append(hidden)
    return _stack(states, reverse), hidden.clone(), cell.clone()


@lstm_layer.register_fake
def _(gates: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    steps, batch, size = gates.shape
    return (
        gates.new_empty(steps, batch, size // 4),
        gates.new_empty(batch, size // 4),
        gates.new_empty(batch, size // 4),
    )


@torch.library.custom_op("prunus::rnn_layer", mutates_args=())
def rnn_layer(gates: Tensor, hidden: Tensor, weight: Tensor, activation: str, reverse: bool) -> tuple[Tensor, Tensor]:
    """Run a plain recurrent layer over a sequence: h = activation(gates[t] + W h).

    Args:
        gates: (steps, batch, hidden) float32, inputs times input weights plus all biases.
        hidden: (batch, hidden), the state before the first step.
        weight: (hidden, hidden).
        activation: "tanh" or "relu".
        reverse: run from the last step to the first.

    Returns:
        The state after each step, (steps, batch, hidden), in the order of the inputs, and the last, (batch, hidden).
    """
    states = []
    for step in _order(gates, reverse):
        hidden = getattr(torch, activation)(step + hidden @ weight.t())
        states.append(hidden)
    return _stack(states, reverse), hidden.clone()


@rnn_layer.register_fake
def _(gates: Tensor, hidden: Tensor, weight: Tensor, activation: str, reverse: bool) -> tuple[Tensor, Tensor]:
    return torch.empty_like(gates), torch.empty_like(hidden)


def _order(gates: Tensor, reverse: bool) -> tuple[Tensor, ...]:
    return gates.flip(0).unbind(0) if reverse else gates.unbind(0)


def _stack(states: list[Tensor], reverse: bool) -> Tensor:
    return torch.stack(states[::-1] if reverse else states)


def _register_gradient(layer: Any) -> None:
    """Let a layer be trained: its backward runs the reference again, step by step."""

    def remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.others = [None if isinstance(one, Tensor) else one for one in inputs]
        ctx.places = [place for place, one in enumerate(inputs) if isinstance(one, Tensor)]
        ctx.save_for_backward(*(inputs[place] for place in ctx.places))

    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given, found = list(ctx.others), [None] * len(ctx.others)
        with torch.enable_grad():
            for place, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
                given[place] = saved.detach().requires_grad_()
            results = layer._init_fn(*given)
        wanted = [place for place in ctx.places if ctx.needs_input_grad[place]]
        sources = [given[place] for place in wanted]
        for place, gradient in zip(
            wanted, torch.autograd.grad(results, sources, gradients, allow_unused=True), strict=True
        ):
            found[place] = gradient
        return tuple(found)

    layer.register_autograd(backward, setup_context=remember)


for _layer in (gru_layer, lstm_layer, rnn_layer):
    _register_gradient(_layer)
