"""Fold batch norm in evaluation mode into the layer beside it, else into a multiplication and an addition."""

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, shape, tidy, value
from prunus.passes.layers import (
    LAYERS,
    LINEAR,
    Affine,
    apply_after,
    apply_before,
    constant64,
    owns_weights,
    takes_before,
)
from prunus.passes.reasons import no


def fold_batchnorm(graph: Graph) -> Graph:
    """Fold batch norm into the layer before it, else the layer after it, else a multiplication and an addition.

    before:  x -> conv(W, b) -> batch_norm(gamma, beta, mean, var) -> y
    after:   x -> conv(W * s, b * s + t) -> y,   s = gamma / sqrt(var + eps),   t = beta - mean * s

    before:  x -> batch_norm -> conv(W, b) -> y          (without padding, or t = 0)
    after:   x -> conv(W * s, b + sum(W * t)) -> y

    before:  x -> batch_norm -> y                        (anywhere else)
    after:   x -> * s -> + t -> y
    """
    for node in calls(graph, aten.batch_norm.default):
        affine = _affine(graph, node)
        if affine is None:
            continue
        x, after = arguments(node).input, only_user(node)
        if _fits_before(graph, node, x):
            apply_after(graph, x, affine)
        elif after is not None and _fits_after(graph, node, after, affine):
            apply_before(graph, after, affine)
        else:
            _write_affine(graph, node, affine)
            continue
        node.replace_all_uses_with(x)
        graph.graph.erase_node(node)
    return tidy(graph)


def _affine(graph: Graph, node: Node) -> Affine | None:
    """Return what batch norm computes, None where it depends on the batch or on computed weights."""
    call = arguments(node)
    if call.training or call.running_mean is None or call.running_var is None:
        no("statistics come from the batch: the graph is in training mode", node)
        return None
    sources = [call.weight, call.bias, call.running_mean, call.running_var]
    if any(source is not None and get_constant(graph, source) is None for source in sources):
        no("its weights are computed, not constant", node)
        return None
    weight, bias, mean, var = (None if source is None else constant64(graph, source) for source in sources)
    assert mean is not None
    assert var is not None
    scale = (torch.ones_like(var) if weight is None else weight) / torch.sqrt(var + call.eps)
    return Affine(scale, (torch.zeros_like(mean) if bias is None else bias) - mean * scale)


def _fits_before(graph: Graph, node: Node, layer: Node) -> bool:
    if not is_op(layer, *LAYERS):
        return no(f"{layer.name!r} before it is no layer with weights", node)
    if only_user(layer) is not node:
        return no(f"{layer.name!r} before it is read elsewhere too", node)
    return _scales_features(layer, node) and owns_weights(graph, layer, node)


def _fits_after(graph: Graph, node: Node, layer: Node, affine: Affine) -> bool:
    if not is_op(layer, *LAYERS) or arguments(layer).input is not node:
        return no(f"{layer.name!r} after it is no layer with weights", node)
    return _scales_features(layer, node) and owns_weights(graph, layer, node) and takes_before(layer, affine, node)


def _scales_features(layer: Node, node: Node) -> bool:
    """Tell whether dimension 1, which batch norm scales, is the one that the weights of the layer reach."""
    if is_op(layer, LINEAR) and len(shape(node)) != 2:
        return no("it scales dimension 1, the linear layer's features are the last of several", node)
    return True


def _write_affine(graph: Graph, node: Node, affine: Affine) -> None:
    emit = Emitter(graph, node)
    sizes = (-1, *[1] * (len(shape(node)) - 2))
    dtype = value(node).dtype
    scale = emit.constant(affine.scale.reshape(sizes).to(dtype), like=f"{node.name}.scale")
    shift = emit.constant(affine.shift.reshape(sizes).to(dtype), like=f"{node.name}.shift")
    replace(node, emit(aten.add.Tensor, emit(aten.mul.Tensor, arguments(node).input, scale), shift))
