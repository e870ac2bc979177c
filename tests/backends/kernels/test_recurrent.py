"""Recurrent layers equal their reference, over odd sizes, long sequences and every way of giving the first state."""

from typing import Any

import pytest
import torch

from prunus.backends.kernels.recurrent import RecurrentLayer
from tests.backends.kernels.harness import Layout, check_kernel

GATES = {"gru": 3, "lstm": 4, "rnn": 1}


def arguments(
    kind: str, steps: int, batch: int, hidden: int, reverse: bool = False, activation: str = "tanh"
) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(steps * 1000 + hidden)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    gates, weight = draw(steps, batch, GATES[kind] * hidden), draw(GATES[kind] * hidden, hidden) / hidden**0.5
    hidden_state, cell = draw(batch, hidden), draw(batch, hidden)
    if kind == "gru":
        return gates, hidden_state, weight, draw(hidden), reverse
    if kind == "lstm":
        return gates, hidden_state, cell, weight, reverse
    return gates, hidden_state, weight / 2, activation, reverse


def constants(kind: str) -> list[int]:
    return {"gru": [2, 3], "lstm": [3], "rnn": [2]}[kind]


def operator(kind: str) -> object:
    return getattr(torch.ops.prunus, f"{kind}_layer").default


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 1, 37), (7, 3, 16), (3, 7, 33), (100, 1, 64)], ids=str)
@pytest.mark.parametrize("kind", GATES)
def test_layer(kind: str, size: tuple[int, int, int]) -> None:
    check_kernel(RecurrentLayer(), operator(kind), arguments(kind, *size), constants=constants(kind))


@pytest.mark.parametrize("kind", GATES)
def test_every_way_of_computing(kind: str) -> None:
    check_kernel(RecurrentLayer(), operator(kind), arguments(kind, 3, 2, 21), constants=constants(kind), knobs=5)


@pytest.mark.parametrize("target", ["x86-64-v3", "rpi4", "rpi3-armhf"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_targets(kind: str, target: str) -> None:
    check_kernel(RecurrentLayer(), operator(kind), arguments(kind, 5, 1, 19), constants=constants(kind), target=target)


@pytest.mark.parametrize("kind", GATES)
def test_reverse(kind: str) -> None:
    check_kernel(RecurrentLayer(), operator(kind), arguments(kind, 6, 2, 19, reverse=True), constants=constants(kind))


def test_relu() -> None:
    check_kernel(RecurrentLayer(), operator("rnn"), arguments("rnn", 6, 2, 19, activation="relu"), constants=[2])


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind", GATES)
def test_first_state_is_constant(kind: str, zero: bool) -> None:
    given = list(arguments(kind, 4, 2, 21))
    states = [1, 2] if kind == "lstm" else [1]
    if zero:
        given[1] = torch.zeros_like(given[1])
    match = check_kernel(RecurrentLayer(), operator(kind), given, constants=[*states, *constants(kind)])
    assert match.problem.starts[0].zero == zero


def test_gru_without_bias() -> None:
    given = list(arguments("gru", 4, 2, 21))
    given[3] = None
    check_kernel(RecurrentLayer(), operator("gru"), given, constants=[2])


def test_batch_outside_of_time() -> None:
    layout = Layout(order=(1, 0, 2))
    check_kernel(RecurrentLayer(), operator("gru"), arguments("gru", 5, 3, 20), constants=[2, 3], layouts={0: layout})


def test_margins() -> None:
    margin = Layout(margin=2)
    check_kernel(
        RecurrentLayer(), operator("lstm"), arguments("lstm", 5, 3, 20), constants=[3],
        layouts=dict.fromkeys((0, 1, 2), margin), output_layout=margin,
    )  # fmt: skip


def test_computed_weights_are_refused() -> None:
    with pytest.raises(AssertionError, match="not constants"):
        check_kernel(RecurrentLayer(), operator("rnn"), arguments("rnn", 2, 1, 4))
