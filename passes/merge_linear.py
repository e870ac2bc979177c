"""Matrix products with constant weights become linear layers."""

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, shape, tidy
from prunus.passes.reasons import no


def merge_linear(graph: Graph) -> Graph:
    """Write products with a constant matrix as linear layers, and the constant added next as their bias.

    before:  matmul(x, W) + b
    after:   linear(x, permute(W, [1, 0]), b)
    """
    for node in calls(graph, aten.matmul.default):
        _product_to_linear(graph, node)
    for node in calls(graph, aten.add.Tensor):
        _sum_to_bias(graph, node)
    return tidy(graph)


def _product_to_linear(graph: Graph, node: Node) -> None:
    call = arguments(node)
    weight, turned = call.other, is_op(call.other, aten.permute.default)
    source = arguments(weight).self if turned else weight
    if get_constant(graph, source) is None:
        return
    if len(shape(weight)) != 2:
        no(f"its constant has {len(shape(weight))} dimensions, a linear layer's weight two", node)
        return
    emit = Emitter(graph, node)
    rows = source if turned else emit.permute(weight, [1, 0])
    replace(node, emit(aten.linear.default, call.self, rows, None))


def _sum_to_bias(graph: Graph, node: Node) -> None:
    for linear, bias in (node.args, node.args[::-1]):
        if not is_op(linear, aten.linear.default) or not isinstance(linear, Node) or not isinstance(bias, Node):
            continue
        features = shape(linear)[-1]
        if get_constant(graph, bias) is None or shape(bias) != (*[1] * (len(shape(bias)) - 1), features):
            continue
        if len(shape(bias)) > len(shape(linear)):
            continue
        if arguments(linear).bias is not None:
            no(f"{linear.name!r} has a bias already", node)
        elif only_user(linear) is not node:
            no(f"{linear.name!r} is read elsewhere too", node)
        else:
            emit = Emitter(graph, node)
            x, weight = linear.args[:2]
            replace(node, emit(aten.linear.default, x, weight, emit.reshape(bias, [features])))
        return
