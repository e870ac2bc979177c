"""Patterns over graphs: formulas that match however they are bracketed and ordered.

`product(0.5, x, total(1, call(aten.erf.default, product(math.sqrt(0.5), x))))` matches GELU as
`x * 0.5 * (1 + erf(x / 1.41421356))` and as `(1 + erf(0.70710678 * x)) * x / 2`: chains of multiplications and
divisions are read as one product of a number and factors, chains of additions and subtractions as one sum.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, get_constant, is_op

TOLERANCE = 1e-6
LONGEST = 5


@dataclass(frozen=True)
class Variable:
    """Matches any node; the same name always matches the same node."""

    name: str


@dataclass(frozen=True)
class Call:
    """Matches a call of `target`.

    Attributes:
        target: the operator.
        operands: patterns of its first arguments, the tensors.
        numbers: what the arguments after them have to be.
        keep: names of further arguments to keep as bindings; the same name always keeps the same.
    """

    target: torch._ops.OpOverload
    operands: tuple["Pattern", ...]
    numbers: tuple[float, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inverse:
    """Matches a divisor in a product, what is subtracted in a sum."""

    of: "Pattern"


@dataclass(frozen=True)
class Chain:
    """Matches `number * factor * ...` or `number + term + ...`; a name keeps the number as a binding."""

    number: float | str
    parts: tuple["Pattern", ...]
    is_product: bool


Pattern = Variable | Call | Inverse | Chain
Bindings = dict[str, Any]


def call(
    target: torch._ops.OpOverload, *operands: Pattern, numbers: tuple[float, ...] = (), keep: tuple[str, ...] = ()
) -> Call:
    return Call(target, operands, numbers, keep)


def product(number: float | str, *factors: Pattern) -> Chain:
    return Chain(number, factors, is_product=True)


def total(number: float | str, *terms: Pattern) -> Chain:
    return Chain(number, terms, is_product=False)


@dataclass(frozen=True)
class Match:
    """What a pattern matched: nodes and arguments by name, and the nodes of the formula itself."""

    bindings: Bindings
    inner: frozenset[Node]


def match(graph: Graph, pattern: Pattern, node: Node) -> Match | None:
    """Match `pattern` with the value of `node`, None where it does not fit."""
    bindings: Bindings = {}
    inner: set[Node] = set()
    return Match(bindings, frozenset(inner)) if _match(graph, pattern, node, bindings, inner) else None


def reads_of_inner(found: Match, node: Node) -> list[Node]:
    """Return nodes outside the formula that read a value on its way; `node` is its end."""
    inside = found.inner | {node}
    return [user for step in found.inner if step is not node for user in step.users if user not in inside]


def number_of(graph: Graph, operand: Any) -> float | None:
    """Return the number that an operand is: itself, or a constant of one element."""
    if isinstance(operand, int | float):
        return float(operand)
    tensor = get_constant(graph, operand)
    return float(tensor) if tensor is not None and tensor.numel() == 1 and not tensor.requires_grad else None


def _match(graph: Graph, pattern: Pattern, node: Any, bindings: Bindings, inner: set[Node]) -> bool:
    if not isinstance(node, Node):
        return False
    if isinstance(pattern, Variable):
        return bindings.setdefault(pattern.name, node) is node
    if isinstance(pattern, Call):
        return _match_call(graph, pattern, node, bindings, inner)
    assert isinstance(pattern, Chain)
    for number, parts, chain in _readings(graph, node, pattern.is_product):
        if len(parts) != len(pattern.parts) or not _is_number(pattern.number, number, bindings):
            continue
        for order in itertools.permutations(parts):
            trial, trial_inner = dict(bindings), inner | chain
            if isinstance(pattern.number, str):
                trial[pattern.number] = number
            if all(_match_part(graph, *pair, trial, trial_inner) for pair in zip(pattern.parts, order, strict=True)):
                bindings.update(trial)
                inner.update(trial_inner)
                return True
    return False


def _match_call(graph: Graph, pattern: Call, node: Node, bindings: Bindings, inner: set[Node]) -> bool:
    if not is_op(node, pattern.target):
        return False
    given = vars(arguments(node))
    operands = list(given.values())[: len(pattern.operands)]
    numbers = tuple(given.values())[len(operands) : len(operands) + len(pattern.numbers)]
    if numbers != pattern.numbers or any(
        bindings.setdefault(name, given[name]) != given[name] for name in pattern.keep
    ):
        return False
    inner.add(node)
    pairs = zip(pattern.operands, operands, strict=True)
    return all(_match(graph, part, operand, bindings, inner) for part, operand in pairs)


def _is_number(wanted: float | str, number: float, bindings: Bindings) -> bool:
    if isinstance(wanted, str):
        return bool(bindings.get(wanted, number) == number)
    return math.isclose(number, wanted, rel_tol=TOLERANCE, abs_tol=1e-12)


def _match_part(graph: Graph, pattern: Pattern, part: tuple[Node, int], bindings: Bindings, inner: set[Node]) -> bool:
    node, power = part
    if power == 1:
        return not isinstance(pattern, Inverse) and _match(graph, pattern, node, bindings, inner)
    return isinstance(pattern, Inverse) and _match(graph, pattern.of, node, bindings, inner)


Parts = list[tuple[Node, int]]


def _readings(graph: Graph, node: Node, is_product: bool) -> Iterator[tuple[float, Parts, set[Node]]]:
    """Yield every way to read `node` as number and parts: each link of the chain opened or left as one part.

    A part is a node with 1, or -1 for a divisor (in sums: for what is subtracted).
    """
    neutral = 1.0 if is_product else 0.0
    pending: list[tuple[float, Parts, set[Node]]] = [(neutral, [(node, 1)], set())]
    seen = set()
    while pending:
        number, parts, chain = pending.pop(0)
        if len(parts) > LONGEST or frozenset(chain) in seen:
            continue
        seen.add(frozenset(chain))
        if chain:
            yield number, parts, chain
        for place, (part, power) in enumerate(parts):
            opened = _open_product(graph, part) if is_product else _open_sum(graph, part)
            if opened is None:
                continue
            factor, inside = opened
            if is_product and power < 0 and factor == 0:
                continue
            changed = number * factor**power if is_product else number + power * factor
            wider = [*parts[:place], *((inner, power * sign) for inner, sign in inside), *parts[place + 1 :]]
            pending.append((changed, wider, chain | {part}))


def _open_product(graph: Graph, node: Node) -> tuple[float, Parts] | None:
    if is_op(node, aten.neg.default):
        return -1.0, [(node.all_input_nodes[0], 1)]
    if is_op(node, aten.reciprocal.default):
        return 1.0, [(node.all_input_nodes[0], -1)]
    if not is_op(node, aten.mul.Tensor, aten.div.Tensor):
        return None
    sign = 1 if is_op(node, aten.mul.Tensor) else -1
    left, right = (number_of(graph, side) for side in node.args[:2])
    if right == 0:
        return None
    number = (1.0 if left is None else left) * (1.0 if right is None else right) ** sign
    return number, _unknown(node, (left, right), sign)


def _open_sum(graph: Graph, node: Node) -> tuple[float, Parts] | None:
    if not is_op(node, aten.add.Tensor, aten.sub.Tensor):
        return None
    sign = 1 if is_op(node, aten.add.Tensor) else -1
    left, right = (number_of(graph, side) for side in node.args[:2])
    return (left or 0.0) + sign * (right or 0.0), _unknown(node, (left, right), sign)


def _unknown(node: Node, known: tuple[float | None, float | None], sign: int) -> Parts:
    """Return the operands of a pair that are no numbers, the second with `sign`."""
    sides = zip(node.args[:2], known, (1, sign), strict=True)
    return [(side, power) for side, number, power in sides if number is None and isinstance(side, Node)]
