"""Take a product into the layers behind it."""

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, get_constant, refresh, set_constant, shape
from prunus.passes.low_rank.behind import layers_behind
from prunus.passes.low_rank.factors import same_kind


def absorb(graph: Graph, product: Node) -> bool:
    """Let the layers that read a linear layer without bias do its work, if they all can; tell whether they do.

    before:  linear(x, B) -> dropout -> permute -> conv(W1), conv(W2)
    after:   x -> dropout -> permute -> conv(W1 B), conv(W2 B)

    Padding stays right, since zeros are zeros on both sides of B.
    """
    call = arguments(product)
    matrix = get_constant(graph, call.weight)
    found = layers_behind(graph, product, len(shape(product)) - 1)
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
