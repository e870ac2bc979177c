"""Small expressions over one output element: epilogues of kernels and bodies of element-wise kernels.

An expression is a frozen value, so it can be part of a kernel's problem: equal expressions are equal kernels. Parts
that occur several times are shared: twenty times `x * sigmoid(x)` in a row are forty operations, not a million.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field


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


@dataclass(frozen=True, eq=False, repr=False)
class Apply:
    """An operation of `vector_math.OPERATIONS` on smaller expressions.

    Attributes:
        text: the whole expression; in place of what is too long to read, a hash. Equal texts are equal expressions.
    """

    op: str
    arguments: tuple["Expression", ...]
    dtype: str
    text: str = field(init=False)

    def __post_init__(self) -> None:
        text = f"{self.op}({', '.join(map(repr, self.arguments))}, {self.dtype})"
        if len(text) > _READABLE:
            text = f"{self.op}#{hashlib.sha256(text.encode()).hexdigest()}"
        object.__setattr__(self, "text", text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Apply) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return self.text


Expression = Accumulator | Operand | Number | Apply

# Characters of an expression that is written out.
_READABLE = 240


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield everything in an expression once, arguments first, itself last."""
    seen: set[Expression] = set()

    def visit(item: Expression) -> Iterator[Expression]:
        if item in seen:
            return
        seen.add(item)
        if isinstance(item, Apply):
            for argument in item.arguments:
                yield from visit(argument)
        yield item

    return visit(expression)


def operation_count(expression: Expression) -> int:
    """Return how many operations one element takes; exp and its kin count as the polynomial they become."""
    weight = {"exp": 12, "sigmoid": 14, "tanh": 16, "erf": 18, "log": 16, "pow": 30, "div": 4, "sqrt": 4}
    return sum(weight.get(item.op, 1) for item in walk(expression) if isinstance(item, Apply))
