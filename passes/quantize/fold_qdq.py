"""Take quantised graphs apart: pairs of quantize and dequantize around float operators become integer operators."""

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, calls, is_op, only_user, tidy
from prunus.passes.quantize import rules  # noqa: F401  fills the table
from prunus.passes.quantize.qdq import QUANTIZE, RULES

VIEWS = (aten.reshape.default, aten.permute.default)


def fold_qdq(graph: Graph) -> Graph:
    """Replace float operators between `dequantize` and `quantize` by integer operators.

    before:  dequantize(x, sx, zx) -> conv(., dequantize_channels(W, sw), b) -> relu -> quantize(sy, zy)
    after:   qconv(x, W, b / (sx sw), sx sw / sy, ..., low=zy)

    Layers whose result is read as real numbers end in `qconv_dequant`. Whatever has no integer form stays as it is, so
    the graph computes the same before and after, up to the rounding of float32.
    """
    _quantize_in_front_of_views(graph)
    for node in list(graph.graph.nodes):
        if not node.users:
            continue
        for rule in RULES.get(node.target, ()):
            if rule(graph, node):
                break
    return tidy(graph)


# Where a float sum and an integer sum round to different steps, a few steps are between the results of whole networks.
fold_qdq.max_error = 0.1  # type: ignore[attr-defined]


def _quantize_in_front_of_views(graph: Graph) -> None:
    """quantize(reshape(x)) --> reshape(quantize(x)): then the operator before the view meets its result."""
    for node in reversed(list(calls(graph, QUANTIZE))):
        inner = node
        while is_op(view := arguments(inner).x, *VIEWS) and only_user(view) is inner:
            x, *how = view.args
            quantized = Emitter(graph, view, name=x.name)(QUANTIZE, x, *inner.args[1:])
            inner.replace_all_uses_with(Emitter(graph, view)(view.target, quantized, *how))
            graph.graph.erase_node(inner)
            graph.graph.erase_node(view)
            inner = quantized
