"""Operators whose results are some of their inputs: they work on int8 as they are."""

from typing import Any

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, get_constant, is_op
from prunus.passes.operators.quantized import quantize as quantize_reference
from prunus.passes.quantize.kinds import data
from prunus.passes.quantize.qdq import (
    QUANTIZE,
    Source,
    become,
    grid_of,
    hand_on,
    qdq_rule,
    quantized,
    result_of,
    source_of,
)
from prunus.passes.quantize.tables import requantizing
from prunus.passes.reasons import no

_VIEWS = (
    aten.reshape.default, aten.permute.default, aten.slice.Tensor, aten.select.int, aten.expand.default,
)  # fmt: skip


@qdq_rule(aten.max_pool2d.default)
def max_pool(graph: Graph, node: Node) -> bool:
    """max_pool2d(dequantize(x)) --> dequantize(max_pool2d(x)), unless x may have its channels last in memory.

    PyTorch pools such int8 only up to 127 elements.
    """
    x = source_of(node.args[0])
    read = None if x is None else x.node
    while read is not None and is_op(read, *_VIEWS):
        if is_op(read, aten.permute.default):
            return no("PyTorch pools integers only where their channels are not last in memory", node)
        read = next(iter(data(read)), None)
    return move(graph, node)


@qdq_rule(*_VIEWS, aten.amax.default)
def move(graph: Graph, node: Node) -> bool:
    """permute(dequantize(x)) --> dequantize(permute(x))"""
    x = source_of(node.args[0])
    if x is None:
        return False
    hand_on(graph, node, x.grid, node.target, x.node, *node.args[1:])  # type: ignore[arg-type]
    return True


@qdq_rule(aten.constant_pad_nd.default)
def pad(graph: Graph, node: Node) -> bool:
    """constant_pad_nd(dequantize(x), pads, 0) --> dequantize(constant_pad_nd(x, pads, zero point))"""
    call = arguments(node)
    x = source_of(call.self)
    if x is None or call.value != 0:
        return False
    hand_on(graph, node, x.grid, aten.constant_pad_nd.default, x.node, call.pad, x.grid.zero_point)
    return True


@qdq_rule(aten.cat.default)
def cat(graph: Graph, node: Node) -> bool:
    """cat([dequantize(a), dequantize(b)]) --> dequantize(cat([a, b])), those of another grid through a table."""
    call = arguments(node)
    sources = [source_of(part) for part in call.tensors]
    if any(source is None for source in sources):
        return False
    found: list[Source] = [source for source in sources if source is not None]
    result = result_of(node, limited=False)
    if result is None:
        if any(source.grid != found[0].grid for source in found):
            return False
        hand_on(graph, node, found[0].grid, aten.cat.default, [source.node for source in found], call.dim)
        return True
    emit = Emitter(graph, node)
    parts: list[Any] = []
    for source in found:
        if source.grid == result.grid:
            parts.append(source.node)
        else:
            table = emit.constant(requantizing(source.grid, result.grid), like=f"{node.name}_table")
            parts.append(emit(quantized.qlookup.default, source.node, table))
    become(graph, node, result, aten.cat.default, parts, call.dim)
    return True


@qdq_rule(aten.embedding.default)
def embedding(graph: Graph, node: Node) -> bool:
    """quantize(embedding(W, i)) --> embedding(W', i): the table itself is int8."""
    call = arguments(node)
    table, result = get_constant(graph, call.weight), result_of(node, limited=False)
    if table is None or result is None:
        return False
    whole = quantize_reference(table.detach().float(), result.grid.scale, result.grid.zero_point)
    constant = Emitter(graph, node).constant(whole, like=f"{call.weight.target}_int8")
    become(graph, node, result, aten.embedding.default, constant, call.indices)
    return True


@qdq_rule(QUANTIZE)
def back_and_forth(graph: Graph, node: Node) -> bool:
    """quantize(dequantize(x)) --> x, on another grid through a table."""
    x = source_of(node.args[0])
    if x is None:
        return False
    if x.grid == grid_of(node):
        node.replace_all_uses_with(x.node)
        return True
    emit = Emitter(graph, node)
    table = emit.constant(requantizing(x.grid, grid_of(node)), like=f"{node.name}_table")
    node.replace_all_uses_with(emit(quantized.qlookup.default, x.node, table))
    return True
