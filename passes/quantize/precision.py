"""How much signal is left above the rounding: layer by layer, against the float graph."""

import math
from collections.abc import Mapping

from torch import Tensor
from torch.fx import Node

from prunus.manifest import LayerPrecision
from prunus.passes.arguments import arguments
from prunus.passes.fake_quantization import FAKE, fake_of
from prunus.passes.graph import Graph, aten, calls, is_op, only_user
from prunus.passes.layers import LINEAR
from prunus.passes.quantize.kinds import CONV, LIMITS
from prunus.passes.quantize.watch import watch_together
from prunus.passes.recovery import Batches

SAMPLES = 64
"""So many are compared: their values are held in memory."""


def measure_precision(
    original: Graph, rounded: Graph, floats: Mapping[str, str], batches: Batches
) -> tuple[LayerPrecision, ...]:
    """Return a row for each layer, in the order of the graph.

    Args:
        original: the float graph. Training moves weights to where rounding suits them, so there is none to compare a
            trained graph with: `rounded` itself then stands for it, and noise is what rounding its own results adds.
        rounded: the same with fake quantisation: values keep their names.
        floats: why layers stay in float32, by name.
        batches: calibration samples; the first 64 are enough.
    """
    some = Batches([tuple(tensor[:SAMPLES] for tensor in batches.tensors)])
    layers = [node for node in calls(rounded) if node.name in floats or _weight_bits(node)]
    ends = {layer: _end(layer) for layer in layers}
    values = {layer: _value_before(end) for layer, end in ends.items()}
    names = {ends[layer].name: values[layer].name for layer in layers}
    expected: dict[str, Tensor] = {}
    signal, noise = dict.fromkeys(names.values(), 0.0), dict.fromkeys(names.values(), 0.0)

    def keep(name: str, found: Tensor) -> None:
        expected[name] = found
        signal[name] += float(found.double().square().sum())

    def compare(name: str, found: Tensor) -> None:
        noise[names[name]] += float((expected[names[name]].double() - found.double()).square().sum())

    watch_together([(original, names.values(), keep), (rounded, names, compare)], some)
    rows = []
    for layer in layers:
        name = values[layer].name
        bits = 32 if layer.name in floats else _weight_bits(layer)
        precision, reason = "float32" if layer.name in floats else "int8", floats.get(layer.name, "")
        rows.append(LayerPrecision(layer.name, precision, bits, _decibels(signal[name], noise[name]), reason))
    return tuple(rows)


def _weight_bits(node: Node) -> int:
    """Return the bits of a layer's rounded weights, 0 for any other node."""
    if not is_op(node, *CONV, LINEAR) or not is_op(arguments(node).weight, FAKE):
        return 0
    return int(arguments(arguments(node).weight).high).bit_length() + 1


def _end(layer: Node) -> Node:
    """Return the node that rounds what a layer hands on, the layer itself where its result is not rounded."""
    node: Node | None = layer
    while node is not None:
        rounded = fake_of(node)
        if rounded is not None:
            return rounded
        node = only_user(node)
        if node is None or not is_op(node, aten.div.Tensor, aten.batch_norm.default, *LIMITS):
            return layer
    return layer


def _value_before(end: Node) -> Node:
    return end.args[0] if is_op(end, FAKE) else end  # type: ignore[return-value]


def _decibels(signal: float, noise: float) -> float | None:
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None
