"""Int8 weights where activations stay in float32: they only save bytes."""

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, readers, tidy
from prunus.passes.operators import weight_only  # noqa: F401  registers the operator
from prunus.passes.quantize.grid import to_steps, weight_scales
from prunus.passes.reasons import no

LEAST_BYTES = 4096
"""Smaller weights stay: the scales and the further operators are worth more than what they save."""
BITS = 8


def quantize_embeddings(graph: Graph) -> Graph:
    """Store tables of embeddings as int8, with one scale a row.

    before:  embedding(W, i) -> y
    after:   embedding(W', i) -> float32 -> * embedding(scales, i) -> y
    """
    for node in calls(graph, aten.embedding.default):
        call = arguments(node)
        table = _large(graph, node, call.weight)
        if table is None:
            continue
        scales = weight_scales(table, BITS)
        emit = Emitter(graph, node)
        rows = emit.constant(to_steps(table, scales, BITS), like=f"{call.weight.target}_int8")
        column = emit.constant(scales[:, None], like=f"{call.weight.target}_scale")
        picked = emit.cast(emit(aten.embedding.default, rows, call.indices), torch.float32)
        replace(node, emit(aten.mul.Tensor, picked, emit(aten.embedding.default, column, call.indices)))
    return tidy(graph)


def quantize_linear_weights(graph: Graph) -> Graph:
    """Store the weights of large linear layers as int8, with one scale a row.

    before:  linear(x, W, b) -> y
    after:   linear_int8(x, W', scales, b) -> y
    """
    for node in calls(graph, aten.linear.default):
        call = arguments(node)
        weight = _large(graph, node, call.weight)
        if weight is None:
            continue
        scales = weight_scales(weight, BITS)
        emit = Emitter(graph, node)
        rows = emit.constant(to_steps(weight, scales, BITS), like=f"{call.weight.target}_int8")
        scale = emit.constant(scales, like=f"{call.weight.target}_scale")
        replace(node, emit(torch.ops.prunus.linear_int8.default, call.input, rows, scale, call.bias))
    return tidy(graph)


def _large(graph: Graph, node: Node, source: Node) -> torch.Tensor | None:
    """Return a float32 matrix that is large and read nowhere else."""
    weight = get_constant(graph, source)
    if weight is None or weight.dtype != torch.float32 or weight.dim() != 2:
        return None
    if weight.numel() * weight.element_size() < LEAST_BYTES:
        no("its weights are small", node)
        return None
    others = [reader for reader in readers(graph, source) if reader.target is not node.target]
    if others:
        no(f"its weights are shared with {others[0].name!r}", node)
        return None
    return weight
