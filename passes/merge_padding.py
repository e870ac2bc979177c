"""Let convolutions and pools pad for themselves."""

import math

from torch.fx import Node

from prunus.passes.arguments import arguments, per_dim
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, is_op, shape, tidy
from prunus.passes.layers import CONV
from prunus.passes.reasons import no

PAD = aten.constant_pad_nd.default
POOLS = (aten.max_pool2d.default, aten.avg_pool2d.default)


def merge_padding(graph: Graph) -> Graph:
    """Merge padding with padding, and with the layer that reads it where both sides get the same.

    before:  constant_pad_nd(x, [1, 1, 1, 1], 0) -> conv2d(padding=[0, 0])
    after:   x -> conv2d(padding=[1, 1])

    Zeros go into convolutions and into average pools that count them, minus infinity into maximum pools. Padding with
    different sides stays in front of its convolution; the backend computes the two as one.
    """
    for node in calls(graph, PAD):
        _merge_pads(graph, node)
    for node in calls(graph, *CONV, *POOLS):
        pad = node.args[0]
        if is_op(pad, PAD) and isinstance(pad, Node):
            _merge_into(graph, node, pad)
    return tidy(graph)


def _merge_pads(graph: Graph, node: Node) -> None:
    """constant_pad_nd(constant_pad_nd(x, a), b) --> constant_pad_nd(x, a + b)"""
    outer, inner = arguments(node), arguments(node).self
    if not is_op(inner, PAD):
        return
    first = arguments(inner)
    if first.value != outer.value or min(*first.pad, *outer.pad) < 0:
        no(f"it pads with {outer.value}, {inner.name!r} before it with {first.value}", node)
        return
    length = max(len(first.pad), len(outer.pad))
    pads = [[*pad, *[0] * (length - len(pad))] for pad in (first.pad, outer.pad)]
    emit = Emitter(graph, node)
    replace(node, emit(PAD, first.self, [a + b for a, b in zip(*pads, strict=True)], outer.value))


def _merge_into(graph: Graph, node: Node, pad: Node) -> None:
    call, padding = arguments(node), arguments(pad)
    dims = len(shape(node)) - 2
    sides = list(padding.pad)
    before, after = sides[0 : 2 * dims : 2][::-1], sides[1 : 2 * dims : 2][::-1]
    before, after = ([0] * (dims - len(part)) + part for part in (before, after))
    if any(sides[2 * dims :]):
        no(f"{pad.name!r} before it pads channels or the batch", node)
    elif before != after or min(before) < 0:
        no(f"{pad.name!r} before it pads {before} elements on one side and {after} on the other", node)
    elif _takes(node, pad, before):
        wider = [own + more for own, more in zip(per_dim(call.padding, dims), before, strict=True)]
        arguments_ = vars(call) | {next(iter(vars(call))): padding.self, "padding": wider}
        if is_op(node, aten.avg_pool2d.default):
            arguments_["count_include_pad"] = True
        replace(node, Emitter(graph, node)(node.target, *arguments_.values()))  # type: ignore[arg-type]


def _takes(node: Node, pad: Node, sides: list[int]) -> bool:
    """Tell whether the layer's own padding is the same as `pad`: the same value, read in the same way."""
    call, value = arguments(node), arguments(pad).value
    if is_op(node, *CONV):
        return value == 0 or no(f"{pad.name!r} before it pads with {value}", node)
    kernel_size, own = per_dim(call.kernel_size, 2), per_dim(call.padding, 2)
    if any(2 * (side + mine) > size for side, mine, size in zip(sides, own, kernel_size, strict=True)):
        return no("a pool pads at most half its window", node)
    if call.ceil_mode:
        return no("its last windows may reach beyond the padding", node)
    if is_op(node, aten.max_pool2d.default):
        return value == -math.inf or no(f"{pad.name!r} before it pads with {value}, not minus infinity", node)
    counts = call.divisor_override is not None or call.count_include_pad or not any(own)
    return (value == 0 and counts) or no(f"{pad.name!r} before it is counted, its own padding is not", node)
