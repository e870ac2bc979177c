"""Sums and products of two values."""

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, is_op
from prunus.passes.quantize.grid import in_float32
from prunus.passes.quantize.qdq import become, qdq_rule, quantized, result_of, source_of


@qdq_rule(aten.add.Tensor, aten.sub.Tensor)
def add(graph: Graph, node: Node) -> bool:
    """add(dequantize(a), dequantize(b)) -> relu -> quantize --> qadd; a difference has a negative scale."""
    call = arguments(node)
    a, b, result = source_of(call.self), source_of(call.other), result_of(node)
    if a is None or b is None or result is None or call.alpha != 1:
        return False
    sign = -1 if is_op(node, aten.sub.Tensor) else 1
    become(
        graph, node, result, quantized.qadd.default, a.node, b.node, in_float32(a.grid.scale / result.grid.scale),
        in_float32(sign * b.grid.scale / result.grid.scale), a.grid.zero_point, b.grid.zero_point,
        result.grid.zero_point, result.low, result.high,
    )  # fmt: skip
    return True


@qdq_rule(aten.mul.Tensor)
def multiply(graph: Graph, node: Node) -> bool:
    """mul(dequantize(a), dequantize(b)) -> quantize --> qmul"""
    call = arguments(node)
    a, b, result = source_of(call.self), source_of(call.other), result_of(node)
    if a is None or b is None or result is None:
        return False
    scale = in_float32(a.grid.scale * b.grid.scale / result.grid.scale)
    become(
        graph, node, result, quantized.qmul.default, a.node, b.node, scale, a.grid.zero_point, b.grid.zero_point,
        result.grid.zero_point, result.low, result.high,
    )  # fmt: skip
    return True
