"""From fake quantisation to integers: the same rounding, as pairs of operators that `fold_qdq` takes apart."""

import itertools

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.fake_quantization import FAKE
from prunus.passes.graph import Graph, calls, tidy
from prunus.passes.operators import weight_only  # noqa: F401  registers the operator
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.passes.quantize.batch_norm import freeze_batch_norm
from prunus.passes.quantize.constants import evaluate, is_constant
from prunus.passes.quantize.grid import SMALLEST_SCALE
from prunus.passes.remove_dropout import remove_dropout

quantized = torch.ops.prunus


def write_qdq(graph: Graph) -> Graph:
    """Write int8 weights, and activations to int8 and back.

    before:  conv(fake(x), fake(W), b)
    after:   conv(dequantize(quantize(x)), dequantize_channels(W'), b)

    The graph must be in evaluation mode; batch norm and dropout that were kept for training go.
    """
    freeze_batch_norm(graph)
    fakes = list(calls(graph, FAKE))
    for node in filter(is_constant, fakes):
        call = arguments(node)
        weight, scale = evaluate(graph, call.x), evaluate(graph, call.scale).clamp_min(SMALLEST_SCALE)
        by_row = scale.reshape(-1, *[1] * (weight.dim() - 1))
        steps = torch.round(weight * by_row.reciprocal()).clamp(call.low, call.high).to(torch.int8)
        emit = Emitter(graph, node)
        name = _parameter_name(call.x)
        constants = emit.constant(steps, like=f"{name}_int8"), emit.constant(scale, like=f"{name}_scale")
        node.replace_all_uses_with(emit(quantized.dequantize_channels.default, *constants, 0))
    for node in itertools.filterfalse(is_constant, fakes):
        call = arguments(node)
        step = max(float(evaluate(graph, call.scale)), SMALLEST_SCALE)
        zero_point = max(INT8_LOW, min(INT8_HIGH, round(float(evaluate(graph, call.zero_point)))))
        emit = Emitter(graph, node, name=call.x.name)
        whole = emit(quantized.quantize.default, call.x, step, zero_point)
        node.replace_all_uses_with(emit(quantized.dequantize.default, whole, step, zero_point))
    return remove_dropout(tidy(graph))


def _parameter_name(node: Node) -> str:
    """Return the name of the first parameter that a weight is made of."""
    while node.op != "get_attr":
        node = node.all_input_nodes[0]
    return str(node.target)
