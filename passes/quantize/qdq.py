"""How rules of `fold_qdq` see a graph: what stands behind a value, what reads it, and integer nodes in its place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, is_op
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.passes.quantize.grid import Grid
from prunus.passes.quantize.kinds import LIMITS

quantized = torch.ops.prunus
QUANTIZE, DEQUANTIZE = quantized.quantize.default, quantized.dequantize.default

Rule = Callable[[Graph, Node], bool]
RULES: dict[torch._ops.OpOverload, list[Rule]] = {}


def qdq_rule(*targets: torch._ops.OpOverload) -> Callable[[Rule], Rule]:
    """Register a rewriting of `targets`; it returns whether it has changed the graph. Rules are tried in order."""

    def register(function: Rule) -> Rule:
        for target in targets:
            RULES.setdefault(target, []).append(function)
        return function

    return register


@dataclass(frozen=True)
class Source:
    """An int8 value that reaches an operator through `dequantize`."""

    node: Node
    grid: Grid


@dataclass(frozen=True)
class Result:
    """What becomes of an operator's float value: int8 on a grid, limited.

    Attributes:
        ends: the `quantize` nodes, all of one grid.
        grid: theirs.
        low, high: bounds in int8 steps: those of int8, or of ReLU and clamps on the way.
    """

    ends: tuple[Node, ...]
    grid: Grid
    low: int = INT8_LOW
    high: int = INT8_HIGH


def source_of(node: Any) -> Source | None:
    """Return what stands behind a value, None where it is no `dequantize`."""
    if not is_op(node, DEQUANTIZE):
        return None
    call = arguments(node)
    return Source(call.x, Grid(call.scale, call.zero_point))


def grid_of(quantize: Node) -> Grid:
    """Return the grid of a `quantize` node."""
    call = arguments(quantize)
    return Grid(call.scale, call.zero_point)


def result_of(node: Node, *, limited: bool = True) -> Result | None:
    """Return the grid that all readers of `node` bring it to, None where one reads it as a real number.

    Args:
        limited: ReLU and clamps may stand between.
    """
    readers = list(node.users)
    if not readers:
        return None
    if all(is_op(reader, QUANTIZE) for reader in readers):
        grid = grid_of(readers[0])
        return Result(tuple(readers), grid) if all(grid_of(reader) == grid for reader in readers) else None
    if not limited or len(readers) != 1 or not is_op(readers[0], *LIMITS):
        return None
    beyond = result_of(readers[0])
    if beyond is None:
        return None
    low, high = bounds(readers[0])
    return Result(
        beyond.ends,
        beyond.grid,
        max(beyond.low, min(beyond.high, beyond.grid.step(low, INT8_LOW))),
        min(beyond.high, max(beyond.low, beyond.grid.step(high, INT8_HIGH))),
    )


def bounds(node: Node) -> tuple[float | None, float | None]:
    """Return the limits of a ReLU or clamp."""
    if is_op(node, aten.relu.default):
        return 0.0, None
    call = arguments(node)
    return call.min, call.max


def become(graph: Graph, node: Node, result: Result, target: torch._ops.OpOverload, *args: Any) -> None:
    """Let `node` compute the int8 result itself; it keeps its name and place."""
    stay_float(graph, node, target, *args)
    lead(graph, result, node)


def lead(graph: Graph, result: Result, node: Node) -> None:
    """Let what read the ends of `result` read `node`, and take away what stood between."""
    for end in result.ends:
        end.replace_all_uses_with(node)
        step = end
        while step is not node and not step.users:
            before = step.all_input_nodes[0]
            graph.graph.erase_node(step)
            step = before


def stay_float(graph: Graph, node: Node, target: torch._ops.OpOverload, *args: Any) -> None:
    """Let `node` compute another operator; it keeps its name and place."""
    replace(node, Emitter(graph, node)(target, *args))


def hand_on(graph: Graph, node: Node, grid: Grid, target: torch._ops.OpOverload, *args: Any) -> None:
    """Let `node` compute in int8, and what reads it read real numbers behind it.

    before:  move(dequantize(x)) -> readers
    after:   move(x) -> dequantize -> readers
    """
    readers = list(node.users)
    replace(node, Emitter(graph, node)(target, *args))
    real = Emitter(graph, node.next, name=node.name)(DEQUANTIZE, node, grid.scale, grid.zero_point)
    node.replace_all_uses_with(real, delete_user_cb=lambda user: user in readers)
