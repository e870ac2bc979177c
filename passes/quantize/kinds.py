"""What the integer side can do with each operator."""

from enum import Enum

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, get_constant, is_op, only_user, value
from prunus.passes.layers import LINEAR

CONV = (aten.conv1d.default, aten.conv2d.default)
LIMITS = (aten.relu.default, aten.clamp.default)
# hardswish is the one activation that PyTorch does not tag as pointwise.
_UNTAGGED = (aten.hardswish.default,)
MAXIMA = (aten.max_pool2d.default, aten.amax.default)
_MOVES = (
    *MAXIMA,
    aten.reshape.default,
    aten.permute.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.expand.default,
    aten.cat.default,
    aten.constant_pad_nd.default,
    aten.dropout.default,
)


class Kind(Enum):
    """Classes of operators that are treated alike.

    LAYER: convolution or linear with constant weights; NORM: batch norm that belongs to the layer before it;
    LIMIT: ReLU or clamp; ADD, MULTIPLY: of two values; FUNCTION: of one variable, a table of 256 entries;
    MEAN, POOL: averages; MOVE: results are some of the inputs, so they share a grid.
    """

    LAYER = 1
    NORM = 2
    LIMIT = 3
    ADD = 4
    MULTIPLY = 5
    FUNCTION = 6
    MEAN = 7
    POOL = 8
    MOVE = 9


def kind_of(graph: Graph, node: Node) -> Kind | None:
    """Return the kind of a node, None where there is no integer form."""
    if node.op != "call_function" or not isinstance(node.meta["val"], torch.Tensor):
        return None
    if value(node).dtype != torch.float32 or any(value(source).dtype != torch.float32 for source in data(node)):
        return None
    if is_op(node, *CONV, LINEAR):
        return Kind.LAYER if get_constant(graph, arguments(node).weight) is not None else None
    if is_op(node, aten.batch_norm.default):
        layer = node.all_input_nodes[0]
        alone = is_op(layer, *CONV, LINEAR) and only_user(layer) is node and kind_of(graph, layer) is Kind.LAYER
        return Kind.NORM if alone and (not is_op(layer, LINEAR) or value(layer).dim() == 2) else None
    if is_op(node, *LIMITS):
        return Kind.LIMIT
    if is_op(node, *_MOVES):
        return Kind.MOVE if _is_move(node) else None
    if is_op(node, aten.mean.dim):
        return Kind.MEAN
    if is_op(node, aten.avg_pool2d.default):
        return Kind.POOL if arguments(node).divisor_override is None else None
    if is_op(node, aten.add.Tensor, aten.sub.Tensor) and len(data(node)) == len(node.args) == 2:
        return Kind.ADD if arguments(node).alpha == 1 else None
    if is_op(node, aten.mul.Tensor) and len(data(node)) == len(node.args) == 2:
        return Kind.MULTIPLY
    return Kind.FUNCTION if is_function(graph, node) else None


def data(node: Node) -> list[Node]:
    """Return the inputs of a node that are no constants."""
    return [source for source in node.all_input_nodes if source.op != "get_attr"]


def is_function(graph: Graph, node: Node) -> bool:
    """Tell whether a node applies one function of one variable to each element; constants must be single numbers."""
    if not is_pointwise(node) or len(data(node)) != 1 or value(data(node)[0]).shape != value(node).shape:
        return False
    constants = [get_constant(graph, source) for source in node.all_input_nodes if source.op == "get_attr"]
    return all(tensor is not None and tensor.numel() == 1 for tensor in constants)


def is_pointwise(node: Node) -> bool:
    """Tell whether a node computes each element from the elements at the same place."""
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) or is_op(node, *_UNTAGGED)


def absorbs(kind: Kind, user: Kind | None) -> bool:
    """Tell whether an operator of `kind` and the only reader of its value become one operator."""
    if kind is Kind.LAYER and user is Kind.NORM:
        return True
    if user is Kind.LIMIT:
        return kind in (Kind.LAYER, Kind.NORM, Kind.ADD, Kind.MULTIPLY, Kind.FUNCTION)
    return kind is Kind.FUNCTION and user is Kind.FUNCTION


def _is_move(node: Node) -> bool:
    if is_op(node, aten.constant_pad_nd.default):
        return bool(arguments(node).value == 0)
    return len(data(node)) == len(node.all_input_nodes)
