"""Normalisation: `layer_norm`, `rms_norm`, `group_norm` and (until it is folded) `batch_norm`, one result each."""

from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, value
from prunus.passes.reasons import no


def _only_first_is_read(node: Node) -> bool:
    if all(user.args[1] == 0 or not user.users for user in node.users):
        return True
    return no("its statistics are read", node)


@rule(aten.native_layer_norm.default)
def native_layer_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """native_layer_norm(x, ...)[0] --> layer_norm(x, ...), where nobody reads the statistics"""
    if not _only_first_is_read(node):
        return None
    return (emit(aten.layer_norm.default, call.input, call.normalized_shape, call.weight, call.bias, call.eps),)


@rule(aten.native_group_norm.default)
def native_group_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """native_group_norm(x, ...)[0] --> group_norm(x, ...), where nobody reads the statistics"""
    if not _only_first_is_read(node):
        return None
    return (emit(aten.group_norm.default, call.input, call.group, call.weight, call.bias, call.eps),)


@rule(
    aten.native_batch_norm.default,
    aten._native_batch_norm_legit_no_training.default,
    aten._batch_norm_no_update.default,
)
def native_batch_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """native_batch_norm(x, ...)[0] --> batch_norm(x, ...), in evaluation mode"""
    if getattr(call, "training", False) or not _only_first_is_read(node):
        return None
    norm = (call.input, call.weight, call.bias, call.running_mean, call.running_var, False, call.momentum, call.eps)
    return (emit(aten.batch_norm.default, *norm, False),)


@rule(aten.instance_norm.default)
def instance_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """instance_norm(x, ...) --> group_norm(x, channels, ...), or batch_norm where it has statistics of its own"""
    if call.use_input_stats or call.running_mean is None:
        return emit(aten.group_norm.default, call.input, shape(node)[1], call.weight, call.bias, call.eps)
    norm = (call.input, call.weight, call.bias, call.running_mean, call.running_var, False, call.momentum, call.eps)
    return emit(aten.batch_norm.default, *norm, False)


@rule(aten.rms_norm.default)
def rms_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """rms_norm(x, sizes, W, eps=None) --> rms_norm(x, sizes, W, eps of the dtype)"""
    if call.eps is not None:
        return None
    eps = torch.finfo(value(node).dtype).eps
    return emit(aten.rms_norm.default, call.input, call.normalized_shape, call.weight, eps)


@rule(aten._fused_rms_norm.default)
def fused_rms_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """_fused_rms_norm(x, ...)[0] --> rms_norm(x, ...), where nobody reads the statistics"""
    if not _only_first_is_read(node):
        return None
    return (emit(aten.rms_norm.default, call.input, call.normalized_shape, call.weight, call.eps),)
