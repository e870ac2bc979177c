"""Take a product into the layers behind it."""

from dataclasses import dataclass

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, get_constant, is_op, readers, refresh, set_constant, shape
from prunus.passes.layers import CONV, LINEAR
from prunus.passes.low_rank.factors import same_kind

_SAME_CHANNELS = (aten.dropout.default, aten.feature_dropout.default)


@dataclass(frozen=True)
class _Reader:
    """A layer, and where its weight (O, I, *kernel) lies."""

    layer: Node
    weight: Node


def absorb(graph: Graph, product: Node) -> bool:
    """Let the layers that read a linear layer without bias do its work, if they all can; tell whether they do.

    before:  linear(x, B) -> dropout -> permute -> conv(W1), conv(W2)
    after:   x -> dropout -> permute -> conv(W1 B), conv(W2 B)

    Padding stays right, since zeros are zeros on both sides of B.
    """
    call = arguments(product)
    matrix = get_constant(graph, call.weight)
    found = _readers_of(graph, product, len(shape(product)) - 1)
    if matrix is None or call.bias is not None or not found or matrix.shape[0] < matrix.shape[1]:
        return False
    for reader in found:
        old = get_constant(graph, reader.weight)
        assert old is not None
        merged = torch.einsum("oi...,ir->or...", old.detach().double(), matrix.detach().double())
        set_constant(graph, str(reader.weight.target), same_kind(old, merged))
    product.replace_all_uses_with(call.input)
    graph.graph.erase_node(product)
    refresh(graph)
    return True


def _readers_of(graph: Graph, node: Node, dim: int) -> list[_Reader] | None:
    """Return the layers that read dimension `dim` of a node as their channels; None where something else does, too."""
    found: list[_Reader] = []
    for user in node.users:
        if is_op(user, *_SAME_CHANNELS):
            further = _readers_of(graph, user, dim)
        elif is_op(user, aten.permute.default):
            dims = [one % len(shape(user)) for one in arguments(user).dims]
            further = _readers_of(graph, user, dims.index(dim))
        else:
            further = _reader(graph, user, node, dim)
        if not further:
            return None
        found += further
    return found


def _reader(graph: Graph, user: Node, node: Node, dim: int) -> list[_Reader] | None:
    if not is_op(user, *CONV, LINEAR):
        return None
    call = arguments(user)
    channels = len(shape(node)) - 1 if is_op(user, LINEAR) else 1
    mine = get_constant(graph, call.weight) is not None and readers(graph, call.weight) == [user]
    plain = call.input is node and channels == dim and getattr(call, "groups", 1) == 1
    return [_Reader(user, call.weight)] if mine and plain else None
