"""The layers behind a value that read its channels, and nothing else of it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, get_constant, is_op, readers, shape
from prunus.passes.layers import CONV, LINEAR

_SAME_CHANNELS = (aten.dropout.default, aten.feature_dropout.default)


@dataclass(frozen=True)
class Reader:
    """A linear layer or a convolution, and where its weight (O, I, *kernel) lies."""

    layer: Node
    weight: Node


def layers_behind(graph: Graph, node: Node, dim: int) -> list[Reader]:
    """Return the layers that read dimension `dim` of a node as their channels; none where something else does, too.

    Dropout and permutations may stand between them.
    """
    found: list[Reader] = []
    for user in node.users:
        if is_op(user, *_SAME_CHANNELS):
            further = layers_behind(graph, user, dim)
        elif is_op(user, aten.permute.default):
            dims = [one % len(shape(user)) for one in arguments(user).dims]
            further = layers_behind(graph, user, dims.index(dim))
        else:
            further = _reader(graph, user, node, dim)
        if not further:
            return []
        found += further
    return found


def metric_of(graph: Graph, node: Node) -> Tensor | None:
    """Return how far the layers behind the last dimension of a node tell its values apart.

    That is M (D, D) float64: a difference d of two values makes a difference of d'Md in the squares of what the layers
    return. None where layers are not all that reads it.
    """
    weights = [get_constant(graph, reader.weight) for reader in layers_behind(graph, node, len(shape(node)) - 1)]
    if not weights:
        return None
    flat = [weight.detach().double().movedim(1, -1).flatten(0, -2) for weight in weights if weight is not None]
    return torch.stack([one.t() @ one for one in flat]).sum(0)


def _reader(graph: Graph, user: Node, node: Node, dim: int) -> list[Reader]:
    if not is_op(user, *CONV, LINEAR):
        return []
    call = arguments(user)
    channels = len(shape(node)) - 1 if is_op(user, LINEAR) else 1
    mine = get_constant(graph, call.weight) is not None and readers(graph, call.weight) == [user]
    plain = call.input is node and channels == dim and getattr(call, "groups", 1) == 1
    return [Reader(user, call.weight)] if mine and plain else []
