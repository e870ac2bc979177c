"""Batch norm around rounded weights: training sees them folded, as they will be rounded."""

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.fake_quantization import FAKE
from prunus.passes.graph import Graph, aten, calls, is_op, shape, tidy
from prunus.passes.layers import LINEAR
from prunus.passes.quantize.kinds import CONV


def fold_in_training(graph: Graph, layer: Node, norm: Node) -> None:
    """Let a layer compute with its weights folded, and undo it in front of batch norm.

    before:  x -> conv(W, b) -> batch_norm(gamma, beta, mean, var) -> y
    after:   x -> conv(W * s, b * s) -> / s -> batch_norm(gamma, beta, mean, var) -> y,   s = gamma / sqrt(var + eps)

    So W * s is what gets rounded, with running statistics that change slowly, while batch norm itself goes on to
    normalise with those of the batch (Krishnamoorthi, "Quantizing deep convolutional networks", 2018, section 3.2.2).
    Channels that batch norm has switched off (s = 0) are divided by 1.
    """
    call, of_norm = arguments(layer), arguments(norm)
    emit = Emitter(graph, layer)
    scale = emit(aten.rsqrt.default, emit(aten.add.Tensor, of_norm.running_var, of_norm.eps))
    if of_norm.weight is not None:
        scale = emit(aten.mul.Tensor, of_norm.weight, scale)
    weight = emit(aten.mul.Tensor, call.weight, emit.reshape(scale, [-1, *[1] * (len(shape(call.weight)) - 1)]))
    bias = None if call.bias is None else emit(aten.mul.Tensor, call.bias, scale)
    layer.args = (call.input, weight, bias, *layer.args[3:])
    layer.kwargs = {}
    divisor = emit(aten.where.self, emit(aten.eq.Scalar, scale, 0), emit(aten.ones_like.default, scale), scale)
    after = Emitter(graph, norm)
    spatial = 0 if is_op(layer, LINEAR) else len(shape(layer)) - 2
    undone = after(aten.div.Tensor, layer, after.reshape(divisor, [-1, *[1] * spatial]))
    norm.replace_input_with(layer, undone)


def freeze_batch_norm(graph: Graph) -> Graph:
    """Fix the statistics of batch norms that `fold_in_training` has prepared: for the last part of training.

    before:  conv(x, fake(W * s), b * s) -> / s -> batch_norm(gamma, beta, mean, var) -> y
    after:   conv(x, fake(W * s), b * s - mean * s + beta) -> y

    W, b, gamma and beta still train; running statistics stay.
    """
    for norm in calls(graph, aten.batch_norm.default):
        undone = arguments(norm).input
        layer = undone.args[0] if is_op(undone, aten.div.Tensor) else None
        if layer is None or not is_op(layer, *CONV, LINEAR) or not is_op(arguments(layer).weight, FAKE):
            continue
        of_norm, call = arguments(norm), arguments(layer)
        emit = Emitter(graph, layer)
        scale = emit(aten.rsqrt.default, emit(aten.add.Tensor, of_norm.running_var, of_norm.eps))
        if of_norm.weight is not None:
            scale = emit(aten.mul.Tensor, of_norm.weight, scale)
        bias = emit(aten.neg.default, emit(aten.mul.Tensor, of_norm.running_mean, scale))
        for shift in (call.bias, of_norm.bias):
            bias = bias if shift is None else emit(aten.add.Tensor, bias, shift)
        layer.args = (call.input, call.weight, bias, *layer.args[3:])
        norm.replace_all_uses_with(layer)
        graph.graph.erase_node(norm)
    return tidy(graph)
