"""Small expressions over one output element: epilogues of kernels and bodies of element-wise kernels.

An expression is a frozen tree, so it can be part of a kernel's problem: equal trees are equal kernels.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Accumulator:
    """The anchor operator's result at this element."""

    dtype: str = "float32"


@dataclass(frozen=True)
class Operand:
    """Element of the group's operand `index` at this place."""

    index: int
    dtype: str


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float | int | bool
    dtype: str


@dataclass(frozen=True)
class Apply:
    """An operation of `vector_math.OPERATIONS` on smaller expressions."""

    op: str
    arguments: tuple["Expression", ...]
    dtype: str


Expression = Accumulator | Operand | Number | Apply


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and everything in it, arguments first."""
    if isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from walk(argument)
    yield expression


def operation_count(expression: Expression) -> int:
    """Return how many operations one element takes; exp and its kin count as the polynomial they become."""
    weight = {"exp": 12, "sigmoid": 14, "tanh": 16, "erf": 18, "log": 16, "pow": 30, "div": 4, "sqrt": 4}
    return sum(weight.get(item.op, 1) for item in walk(expression) if isinstance(item, Apply))


def describe(expression: Expression) -> str:
    """Return the expression as one line of text, for reports."""
    match expression:
        case Accumulator():
            return "acc"
        case Operand(index):
            return f"in{index}"
        case Number(value):
            return f"{value:g}"
        case Apply(op, arguments):
            return f"{op}({', '.join(describe(argument) for argument in arguments)})"
