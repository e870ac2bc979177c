"""Let linear layers read features in the order in which they lie."""

import math

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, readers, shape, tidy
from prunus.passes.reasons import no


def fold_permutes(graph: Graph) -> Graph:
    """Permute a weight's columns instead of the features that it is multiplied with.

    before:  x -> permute(to NHWC) -> reshape([batch, H * W * C]) -> linear(W)
    after:   x -> reshape([batch, C * H * W]) -> linear(W with its columns in that order)

    Networks that keep channels last flatten them so ahead of their first linear layer.
    """
    for node in calls(graph, aten.linear.default):
        _fold(graph, node)
    return tidy(graph)


def _fold(graph: Graph, node: Node) -> None:
    call = arguments(node)
    flat = call.input
    if not is_op(flat, aten.reshape.default) or not is_op(arguments(flat).self, aten.permute.default):
        return
    permuted = arguments(flat).self
    dims, lead = list(arguments(permuted).dims), len(shape(flat)) - 1
    features = [shape(permuted)[place] for place in range(lead, len(dims))]
    if dims[:lead] != list(range(lead)) or math.prod(features) != shape(flat)[-1]:
        no(f"{flat.name!r} flattens more than one sample's features", node)
        return
    weight = get_constant(graph, call.weight)
    if weight is None or only_user(flat) is not node or len(readers(graph, call.weight)) > 1:
        no("its weight is computed or read elsewhere, or its input is", node)
        return
    order = [dim - lead for dim in dims[lead:]]
    columns = weight.detach().reshape(-1, *features).permute(0, *(1 + order.index(dim) for dim in range(len(order))))
    moved = columns.reshape(weight.shape).contiguous()
    kept = torch.nn.Parameter(moved) if isinstance(weight, torch.nn.Parameter) else moved
    emit = Emitter(graph, node)
    x = emit.reshape(arguments(permuted).self, shape(flat))
    replace(node, emit(aten.linear.default, x, emit.constant(kept, like=str(call.weight.target)), call.bias))
