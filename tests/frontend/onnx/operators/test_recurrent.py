"""Recurrent cells against ONNX Runtime."""

from typing import Any

import numpy as np
import pytest
import torch

from prunus.errors import ImportModelError
from prunus.frontend.onnx import import_onnx
from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, Input, case, check_case, held, model_of, noise

_LENGTH, _BATCH, _FEATURES, _HIDDEN = 5, 2, 3, 7
_X = noise(_LENGTH, _BATCH, _FEATURES)


def _weights(gates: int, directions: int, *, bias: bool = True) -> tuple[Input, ...]:
    rows = gates * _HIDDEN
    return (
        held(noise(directions, rows, _FEATURES) * 0.5),
        held(noise(directions, rows, _HIDDEN) * 0.5),
        held(noise(directions, 2 * rows)) if bias else None,
    )


def _state(directions: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return noise(directions, _BATCH, _HIDDEN, seed=seed)


def _cell(name: str, gates: int, outputs: int, direction: str, *states: Input, bias: bool = True, **extra: Any) -> Case:
    directions = 2 if direction == "bidirectional" else 1
    given = (_X, *_weights(gates, directions, bias=bias))
    if states:
        given = (*given, None, *states)
    return case(name, *given, hidden_size=_HIDDEN, direction=direction, outputs=outputs, **extra)


CASES = [
    *(_cell("GRU", 3, 2, direction, linear_before_reset=1) for direction in ("forward", "reverse", "bidirectional")),
    _cell("GRU", 3, 2, "forward", _state(1), linear_before_reset=1),
    _cell("GRU", 3, 2, "bidirectional", held(_state(2)), linear_before_reset=1, bias=False, opset=7),
    *(_cell("LSTM", 4, 3, direction) for direction in ("forward", "reverse", "bidirectional")),
    _cell("LSTM", 4, 3, "forward", _state(1), _state(1, 1)),
    _cell("LSTM", 4, 3, "bidirectional", _state(2), held(_state(2, 1)), opset=7),
    _cell("LSTM", 4, 3, "forward", bias=False),
    *(_cell("RNN", 1, 2, direction) for direction in ("forward", "reverse", "bidirectional")),
    _cell("RNN", 1, 2, "forward", _state(1), activations=["Relu"]),
    case("LSTM", _X, *_weights(4, 1), held(np.full(_BATCH, _LENGTH, "int32")), hidden_size=_HIDDEN, outputs=3),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_batches_first(direction: str) -> None:
    """ONNX Runtime refuses `layout=1`; the same cell with time first must give the same numbers."""
    directions = 2 if direction == "bidirectional" else 1
    state = _state(directions)
    late = _cell("GRU", 3, 2, direction, held(state), linear_before_reset=1)
    first = case(
        "GRU", _X.transpose(1, 0, 2), *late.inputs[1:5], held(state.transpose(1, 0, 2)),
        hidden_size=_HIDDEN, direction=direction, linear_before_reset=1, layout=1, outputs=2,
    )  # fmt: skip
    y, last = _run(late)
    y_first, last_first = _run(first)
    np.testing.assert_allclose(y_first, y.transpose(2, 0, 1, 3), atol=1e-6)
    np.testing.assert_allclose(last_first, last.transpose(1, 0, 2), atol=1e-6)


def _run(one: Case) -> list[np.ndarray[Any, Any]]:
    return [result.detach().numpy() for result in import_onnx(model_of(one))(torch.tensor(one.inputs[0]))]


def test_a_cell_is_one_trainable_operator() -> None:
    graph = check_case(_cell("LSTM", 4, 3, "bidirectional"))
    assert len(list(calls(graph, aten.lstm))) == 1
    names = [name for name, _ in graph.named_parameters()]
    assert names == [
        f"node.{part}_l0{direction}"
        for direction in ("", "_reverse")
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (_cell("GRU", 3, 2, "forward"), "linear_before_reset"),
        (_cell("LSTM", 4, 3, "forward", clip=3.0), "clipped"),
        (_cell("LSTM", 4, 3, "forward", activations=["Sigmoid", "Relu", "Tanh"]), "activations"),
        (case("LSTM", _X, *_weights(4, 1), held(np.array([5, 3], "int32")), hidden_size=_HIDDEN), "lengths"),
    ],
    ids=str,
)
def test_variants_without_a_form_are_refused(one: Case, reason: str) -> None:
    with pytest.raises(ImportModelError, match=reason):
        import_onnx(model_of(one))
