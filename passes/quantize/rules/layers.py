"""Convolutions and linear layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments, per_dim
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, get_constant, is_op, shape
from prunus.passes.layers import LINEAR
from prunus.passes.quantize.constants import evaluate, is_constant
from prunus.passes.quantize.kinds import CONV, data
from prunus.passes.quantize.qdq import Source, become, qdq_rule, quantized, result_of, source_of, stay_float
from prunus.passes.reasons import no

INT32_LIMIT = 2**31


@dataclass(frozen=True)
class Sums:
    """The integers of a layer.

    Attributes:
        x: the int8 input.
        weight: node of the int8 weights.
        bias: (O,) int32, in steps of the sums, or None.
        scale: (O,) float64, value of one step of each sum.
    """

    x: Source
    weight: Node
    bias: Tensor | None
    scale: Tensor


@qdq_rule(*CONV)
def conv(graph: Graph, node: Node) -> bool:
    """conv(dequantize(x), dequantize_channels(W), b) -> quantize --> qconv"""
    sums = _sums(graph, node)
    if sums is None:
        return False
    call = arguments(node)
    dims = len(shape(node)) - 2
    x, padding = _own_padding(sums.x, per_dim(call.padding, dims))
    window = (per_dim(call.stride, dims), padding, per_dim(call.dilation, dims), call.groups)
    _write(graph, node, sums, x, quantized.qconv.default, quantized.qconv_dequant.default, window)
    return True


@qdq_rule(LINEAR)
def linear(graph: Graph, node: Node) -> bool:
    """linear(dequantize(x), dequantize_channels(W), b) -> quantize --> qlinear"""
    sums = _sums(graph, node)
    if sums is None:
        return False
    _write(graph, node, sums, sums.x.node, quantized.qlinear.default, quantized.qlinear_dequant.default, ())
    return True


def _write(
    graph: Graph,
    node: Node,
    sums: Sums,
    x: Node,
    whole: torch._ops.OpOverload,
    real: torch._ops.OpOverload,
    window: tuple[object, ...],
) -> None:
    emit = Emitter(graph, node)
    bias = None if sums.bias is None else emit.constant(sums.bias, like=f"{node.name}_bias_int32")
    result = result_of(node)
    divisor = 1.0 if result is None else result.grid.scale
    scale = emit.constant((sums.scale / divisor).float(), like=f"{node.name}_requantize")
    operands = (x, sums.weight, bias, scale, *window, sums.x.grid.zero_point)
    if result is None:
        stay_float(graph, node, real, *operands)
    else:
        become(graph, node, result, whole, *operands, result.grid.zero_point, result.low, result.high)


def _sums(graph: Graph, node: Node) -> Sums | None:
    """Return what a layer adds up, None where it is no integer layer or its sums may leave int32."""
    call = arguments(node)
    x = source_of(call.input)
    weight = _rows_first(graph, call.weight)
    if x is None or weight is None:
        return None
    steps, scales = weight
    if call.bias is not None and not is_constant(call.bias):
        no("its bias is computed", node)
        return None
    values = get_constant(graph, steps)
    assert values is not None
    scale = scales.double() * x.grid.scale
    bias = None if call.bias is None else torch.round(evaluate(graph, call.bias).double() / scale)
    largest = 255 * values.long().abs().reshape(len(values), -1).sum(1).double()
    largest += 0 if bias is None else bias.abs()
    if float(largest.max()) >= INT32_LIMIT:
        no(f"its sums may reach {float(largest.max()):.2e}, which int32 does not hold", node)
        return None
    return Sums(x, steps, None if bias is None else bias.to(torch.int32), scale)


def _rows_first(graph: Graph, node: Node) -> tuple[Node, Tensor] | None:
    """Return int8 weights and their scales, one for each row; exporters transpose matrices behind dequantisation."""
    if is_op(node, quantized.dequantize_channels.default):
        call = arguments(node)
        steps, scale = call.x, evaluate(graph, call.scale)
        return (steps, scale) if call.dim == 0 and get_constant(graph, steps) is not None else None
    if is_op(node, aten.permute.default, aten.t.default) and any(
        is_op(source, quantized.dequantize_channels.default) for source in data(node)
    ):
        call = arguments(data(node)[0])
        values = get_constant(graph, call.x)
        scale = evaluate(graph, call.scale)
        by_row = call.dim == 1 or bool((scale == scale[0]).all())
        if values is not None and values.dim() == 2 and by_row and shape(node) == tuple(values.t().shape):
            turned = Emitter(graph, node).constant(values.t().contiguous(), like=f"{call.x.target}_rows")
            return turned, scale[0].expand(values.shape[1]) if call.dim == 0 else scale
    return None


def _own_padding(x: Source, padding: Sequence[int]) -> tuple[Node, list[int]]:
    """Take over padding in front of a convolution, whose sides may differ.

    before:  constant_pad_nd(x, [left, right, top, bottom], zero point) -> qconv(padding=[0, 0])
    after:   x -> qconv(padding=[top, bottom, left, right])
    """
    pad = x.node
    dims = len(padding)
    if not is_op(pad, aten.constant_pad_nd.default):
        return pad, list(padding)
    call = arguments(pad)
    sides = [*call.pad, *[0] * (2 * dims - len(call.pad))]
    if call.value != x.grid.zero_point or any(sides[2 * dims :]) or min(sides) < 0:
        return pad, list(padding)
    pairs = [(sides[2 * (dims - 1 - dim)], sides[2 * (dims - 1 - dim) + 1]) for dim in range(dims)]
    both = [(before + own, after + own) for (before, after), own in zip(pairs, padding, strict=True)]
    if all(before == after for before, after in both):
        return call.self, [before for before, _ in both]
    return call.self, [side for pair in both for side in pair]
