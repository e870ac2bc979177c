"""Recurrent networks keep their numbers when they are split into layers and directions."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes.graph import aten, calls, is_op
from prunus.passes.run import run_passes
from prunus.passes.split_recurrent import split_recurrent

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True), (3, False)])
@pytest.mark.parametrize("kind", CELLS)
def test_split_is_exact(kind: str, layers: int, bidirectional: bool, bias: bool, batch_first: bool) -> None:
    torch.manual_seed(0)
    module = CELLS[kind](5, 7, layers, bias=bias, bidirectional=bidirectional, batch_first=batch_first)
    graph = import_torch(module, (torch.randn(3, 11, 5),))
    after = run_passes(graph, [split_recurrent])
    assert not list(calls(after, aten.gru.input, aten.lstm.input, aten.rnn_tanh.input))
    found = [node for node in calls(after) if is_op(node, getattr(torch.ops.prunus, f"{kind}_layer"))]
    assert len(found) == layers * (2 if bidirectional else 1)
    assert len(list(calls(after, aten.linear.default))) == len(found)


def test_relu_network() -> None:
    torch.manual_seed(0)
    graph = import_torch(nn.RNN(5, 7, 2, nonlinearity="relu"), (torch.randn(3, 2, 5),))
    after = run_passes(graph, [split_recurrent])
    assert len(list(calls(after, torch.ops.prunus.rnn_layer))) == 2


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_states_are_inputs(kind: str) -> None:
    torch.manual_seed(0)
    state = torch.randn(2, 3, 7)
    states = (state, torch.randn(2, 3, 7)) if kind == "lstm" else state
    graph = import_torch(CELLS[kind](5, 7, 2), (torch.randn(4, 3, 5), states))
    assert list(calls(run_passes(graph, [split_recurrent]), getattr(torch.ops.prunus, f"{kind}_layer")))


def test_projected_states_stay() -> None:
    graph = import_torch(nn.LSTM(5, 7, proj_size=3), (torch.randn(4, 1, 5),))
    after = run_passes(graph, [split_recurrent])
    assert len(list(calls(after, aten.lstm.input))) == 1
    assert "proj_size" in str(after.meta["passes"][0].reasons[0])


ops = torch.ops.prunus
# Sizes of the tensors of each layer for two sequences of three steps and three hidden units.
LAYERS: dict[str, tuple[Callable[..., tuple[torch.Tensor, ...]], list[tuple[int, ...]]]] = {
    "gru": (ops.gru_layer, [(3, 2, 9), (2, 3), (9, 3), (3,)]),
    "gru without bias": (lambda *given: ops.gru_layer(*given[:3], None, given[3]), [(3, 2, 9), (2, 3), (9, 3)]),
    "lstm": (ops.lstm_layer, [(3, 2, 12), (2, 3), (2, 3), (12, 3)]),
    "rnn": (lambda *given: ops.rnn_layer(*given[:3], "tanh", given[3]), [(3, 2, 3), (2, 3), (3, 3)]),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_of_layers(kind: str, reverse: bool) -> None:
    """Compared with finite differences."""
    torch.manual_seed(0)
    layer, sizes = LAYERS[kind]
    tensors = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    assert torch.autograd.gradcheck(lambda *given: layer(*given, reverse), tensors)
