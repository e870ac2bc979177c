"""Even out the ranges of channels between two layers, without changing what they compute."""

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, tidy
from prunus.passes.layers import LINEAR, Affine, apply_after, apply_before, owns_weights
from prunus.passes.quantize.kinds import CONV

LAYERS = (*CONV, LINEAR)
ROUNDS = 10
# f(s x) = s f(x) for s > 0: scales pass through.
_HOMOGENEOUS = (
    aten.relu.default,
    aten.leaky_relu.default,
    aten.max_pool2d.default,
    aten.avg_pool2d.default,
)


def equalize(graph: Graph) -> Graph:
    """Give both layers around a ReLU equal ranges of weights, channel by channel.

    before:  x -> conv(W1, b1) -> relu -> conv(W2, b2) -> y
    after:   x -> conv(W1 / s, b1 / s) -> relu -> conv(W2 * s, b2) -> y,   s = sqrt(range(W1) / range(W2))

    Repeated over the graph until nothing moves (Nagel et al., "Data-free quantization through weight equalization and
    bias correction", 2019, section 4.1). Here s is rounded to powers of two: then both graphs compute the same bits,
    which costs little, as only ratios beyond two trouble a quantiser.
    """
    pairs = [(layer, after) for layer in calls(graph, *LAYERS) if (after := _partner(graph, layer)) is not None]
    for _ in range(ROUNDS):
        moved = [_even_out(graph, *pair) for pair in pairs]
        if not any(moved):
            break
    return tidy(graph)


def _partner(graph: Graph, layer: Node) -> Node | None:
    """Return the layer that alone reads `layer`, with nothing between that a scale would change."""
    node = only_user(layer)
    while node is not None and is_op(node, *_HOMOGENEOUS):
        node = only_user(node)
    if node is None or not is_op(node, *LAYERS) or is_op(node, LINEAR) != is_op(layer, LINEAR):
        return None
    if arguments(node).input not in {layer, *_between(layer, node)}:
        return None
    grouped = not is_op(node, LINEAR) and arguments(node).groups not in (1, _weight(graph, node).shape[0])
    owned = owns_weights(graph, layer, node) and owns_weights(graph, node, layer)
    return node if owned and not grouped else None


def _between(layer: Node, after: Node) -> list[Node]:
    found, node = [], only_user(layer)
    while node is not None and node is not after:
        found.append(node)
        node = only_user(node)
    return found


def _even_out(graph: Graph, layer: Node, after: Node) -> bool:
    """Move a power of two a channel from one layer to the other; return whether any was needed."""
    first, second = _weight(graph, layer), _weight(graph, after)
    depthwise = not is_op(after, LINEAR) and arguments(after).groups > 1
    outgoing = first.abs().reshape(len(first), -1).amax(1)
    incoming = second.abs() if depthwise else second.abs().transpose(0, 1)
    incoming = incoming.reshape(len(incoming), -1).amax(1)
    if depthwise and len(second) != len(first):
        return False
    live = (outgoing > 0) & (incoming > 0)
    exponent = torch.where(live, torch.round(torch.log2(outgoing / incoming) / 2), 0.0)
    if not bool(exponent.any()):
        return False
    scale, none = torch.exp2(exponent), torch.zeros_like(exponent)
    apply_after(graph, layer, Affine(1 / scale, none))
    apply_before(graph, after, Affine(scale, none))
    return True


def _weight(graph: Graph, layer: Node) -> Tensor:
    weight = get_constant(graph, arguments(layer).weight)
    assert weight is not None
    return weight.detach().double()
