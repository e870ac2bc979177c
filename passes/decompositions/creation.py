"""Tensors made of nothing: constants."""

from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, value


@rule(
    aten.full.default,
    aten.zeros.default,
    aten.ones.default,
    aten.empty.memory_format,
    aten.full_like.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.empty_like.default,
    aten.new_full.default,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_empty.default,
    aten.scalar_tensor.default,
    aten.fill.Scalar,
)
def filled(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """full([2, 3], 1.5) --> expand(1.5, [2, 3])"""
    assert isinstance(node.target, torch._ops.OpOverload)
    number = getattr(call, "fill_value", getattr(call, "s", getattr(call, "value", None)))
    if number is None:
        number = 1 if "ones" in str(node.target) else 0
    return emit.expand(emit.scalar(number, value(node).dtype), shape(node))


@rule(
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.linspace.default,
    aten.eye.default,
    aten.eye.m,
    torch.ops.prims.iota.default,
)
def counted(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """arange(3) --> the constant [0, 1, 2]"""
    assert isinstance(node.target, torch._ops.OpOverload)
    return emit.constant(node.target(*node.args, **{**node.kwargs, "device": "cpu"}), like=node.name)
