"""Fold multiplications and additions of constants into the layer before them."""

import torch
from torch.fx import Node

from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, shape, tidy
from prunus.passes.layers import LAYERS, Affine, apply_after, apply_before, channel_dim, owns_weights, takes_before
from prunus.passes.reasons import no

ARITHMETIC = (aten.mul.Tensor, aten.div.Tensor, aten.add.Tensor, aten.sub.Tensor)


def fold_affine(graph: Graph) -> Graph:
    """Fold arithmetic with a constant for each channel into the layer before it, else into the layer after it.

    before:  x -> conv(W, b) -> * s -> + t -> y
    after:   x -> conv(W * s, b * s + t) -> y

    before:  x -> * s -> conv(W, b) -> y
    after:   x -> conv(W * s, b) -> y
    """
    for node in calls(graph, *ARITHMETIC):
        after = only_user(node)
        layer = next((source for source in node.all_input_nodes if source.op != "get_attr"), None)
        if layer is None:
            continue
        if is_op(layer, *LAYERS):
            affine = _affine(graph, node, layer, channel_dim(layer))
            if affine is None or not _fits_before(graph, node, layer):
                continue
            apply_after(graph, layer, affine)
        elif after is not None and is_op(after, *LAYERS) and after.args[0] is node:
            affine = _affine(graph, node, layer, channel_dim(after))
            if affine is None or not owns_weights(graph, after, node) or not takes_before(after, affine, node):
                continue
            apply_before(graph, after, affine)
        else:
            continue
        node.replace_all_uses_with(layer)
        graph.graph.erase_node(node)
    return tidy(graph)


def _fits_before(graph: Graph, node: Node, layer: Node) -> bool:
    if only_user(layer) is not node:
        return no(f"{layer.name!r} before it is read elsewhere too", node)
    return owns_weights(graph, layer, node)


def _affine(graph: Graph, node: Node, x: Node, dim: int) -> Affine | None:
    """Return what `node` does to each channel of `x` (dimension `dim`), None where that is no constant a channel."""
    left, right = node.args
    other = right if left is x else left
    if shape(x) != shape(node) or (other is left and is_op(node, aten.div.Tensor)):
        return None
    tensor = get_constant(graph, other) if isinstance(other, Node) else torch.tensor(other)
    if tensor is None or not _is_one_a_channel(tensor, len(shape(x)), dim):
        return None
    number = tensor.detach().double().flatten().expand(shape(x)[dim])
    one, zero = torch.ones_like(number), torch.zeros_like(number)
    if is_op(node, aten.mul.Tensor):
        return Affine(number, zero)
    if is_op(node, aten.div.Tensor):
        return Affine(1 / number, zero)
    if is_op(node, aten.add.Tensor):
        return Affine(one, number)
    return Affine(one, -number) if left is x else Affine(-one, number)


def _is_one_a_channel(tensor: torch.Tensor, rank: int, dim: int) -> bool:
    sizes = (1,) * (rank - tensor.dim()) + tuple(tensor.shape)
    return len(sizes) == rank and all(size == 1 for place, size in enumerate(sizes) if place != dim)
