"""Averages."""

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments, per_dim
from prunus.passes.graph import Graph, aten, shape
from prunus.passes.quantize.grid import in_float32
from prunus.passes.quantize.qdq import become, qdq_rule, quantized, result_of, source_of


@qdq_rule(aten.mean.dim)
def mean(graph: Graph, node: Node) -> bool:
    """mean(dequantize(x)) -> quantize --> qmean"""
    call = arguments(node)
    x, result = source_of(call.self), result_of(node, limited=False)
    if x is None or result is None or call.dtype not in (None, torch.float32):
        return False
    rank = len(shape(x.node))
    dims = [dim % rank for dim in (call.dim if call.dim else range(rank))]
    scale = in_float32(x.grid.scale / result.grid.scale)
    become(
        graph, node, result, quantized.qmean.default, x.node, dims, call.keepdim, scale, x.grid.zero_point,
        result.grid.zero_point,
    )  # fmt: skip
    return True


@qdq_rule(aten.avg_pool2d.default)
def avg_pool2d(graph: Graph, node: Node) -> bool:
    """avg_pool2d(dequantize(x)) -> quantize --> qavg_pool2d"""
    call = arguments(node)
    x, result = source_of(call.self), result_of(node, limited=False)
    if x is None or result is None or call.divisor_override is not None or len(shape(node)) != 4:
        return False
    kernel_size = per_dim(call.kernel_size, 2)
    stride = per_dim(call.stride, 2) if call.stride else kernel_size
    become(
        graph, node, result, quantized.qavg_pool2d.default, x.node, kernel_size, stride, per_dim(call.padding, 2),
        call.ceil_mode, call.count_include_pad, in_float32(x.grid.scale / result.grid.scale), x.grid.zero_point,
        result.grid.zero_point,
    )  # fmt: skip
    return True
