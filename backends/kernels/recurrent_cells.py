"""What recurrent cells do with their gates: one function a cell, on vectors of hidden units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import Math, sigmoid, tanh

Vector = Any
Step = Callable[[Sequence[Vector], Sequence[Vector], Sequence[Vector], Math], tuple[Vector, ...]]


@dataclass(frozen=True)
class Cell:
    """One kind of cell.

    Attributes:
        gates: gates, the rows of its weights.
        operations: operations on one vector of hidden units in one step, for estimates.
        step: takes the gates from the inputs, the products of the state with the weights, the states and the math of
            their vectors; returns the next states.
    """

    gates: int
    operations: int
    step: Step


def _gru(gates: Sequence[Vector], products: Sequence[Vector], states: Sequence[Vector], m: Math) -> tuple[Vector, ...]:
    reset = sigmoid(T.bind(gates[0] + products[0]), m)
    keep = sigmoid(T.bind(gates[1] + products[1]), m)
    new = tanh(T.bind(m.fma(reset, products[2], gates[2])), m)
    return (T.bind(m.fma(keep, states[0] - new, new)),)


def _lstm(gates: Sequence[Vector], products: Sequence[Vector], states: Sequence[Vector], m: Math) -> tuple[Vector, ...]:
    enter, forget, new, leave = (T.bind(gate + product) for gate, product in zip(gates, products, strict=True))
    cell = T.bind(m.fma(sigmoid(forget, m), states[1], sigmoid(enter, m) * tanh(new, m)))
    return T.bind(sigmoid(leave, m) * tanh(cell, m)), cell


def _tanh(gates: Sequence[Vector], products: Sequence[Vector], states: Sequence[Vector], m: Math) -> tuple[Vector, ...]:
    return (tanh(T.bind(gates[0] + products[0]), m),)


def _relu(gates: Sequence[Vector], products: Sequence[Vector], states: Sequence[Vector], m: Math) -> tuple[Vector, ...]:
    return (T.bind(T.max(gates[0] + products[0], m(0))),)


CELLS = {"gru": Cell(3, 80, _gru), "lstm": Cell(4, 140, _lstm), "tanh": Cell(1, 25, _tanh), "relu": Cell(1, 2, _relu)}
