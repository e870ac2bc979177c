"""Matrix products: `matmul` of operands with at least two dimensions, and `linear`."""

from types import SimpleNamespace

from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape


@rule(aten.mm.default, aten.bmm.default)
def matmul(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """mm(a, b) --> matmul(a, b)"""
    return emit(aten.matmul.default, call.self, call.mat2)


@rule(aten.matmul.default, aten.mv.default, aten.dot.default, aten.vdot.default, aten.linalg_matmul.default)
def vectors(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """matmul(vector, b) --> reshape(matmul(reshape(vector, [1, n]), b))"""
    left, right = node.args
    assert isinstance(left, Node)
    assert isinstance(right, Node)
    if node.target is aten.matmul.default and min(len(shape(left)), len(shape(right))) >= 2:
        return None
    if len(shape(left)) == 1:
        left = emit.reshape(left, [1, *shape(left)])
    if len(shape(right)) == 1:
        right = emit.reshape(right, [*shape(right), 1])
    return emit.reshape(emit(aten.matmul.default, left, right), shape(node))


@rule(aten.addmm.default, aten.baddbmm.default)
def addmm(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """addmm(c, a, b) --> alpha * matmul(a, b) + beta * c"""
    left, right = (call.mat1, call.mat2) if hasattr(call, "mat1") else (call.batch1, call.batch2)
    product = emit(aten.matmul.default, left, right)
    if call.alpha != 1:
        product = emit(aten.mul.Tensor, product, call.alpha)
    if call.beta == 0:
        return product
    addend = call.self if call.beta == 1 else emit(aten.mul.Tensor, call.self, call.beta)
    return emit(aten.add.Tensor, product, addend)


@rule(aten.linear.default)
def linear(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """linear(vector, W, b) --> reshape(linear(reshape(vector, [1, n]), W, b), [m]); W of one row may be a vector"""
    if len(shape(call.input)) >= 2 and len(shape(call.weight)) == 2:
        return None
    x = call.input if len(shape(call.input)) >= 2 else emit.reshape(call.input, [1, *shape(call.input)])
    weight = call.weight if len(shape(call.weight)) == 2 else emit.reshape(call.weight, [1, *shape(call.weight)])
    return emit.reshape(emit(aten.linear.default, x, weight, call.bias), shape(node))
