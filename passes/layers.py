"""Convolutions and linear layers with constant weights: scaling and shifting what they read or return."""

from dataclasses import dataclass

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments, per_dim
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, get_constant, is_op, readers, set_constant, shape
from prunus.passes.reasons import no

CONV = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
CONV_TRANSPOSE = (aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
LINEAR = aten.linear.default
LAYERS = (*CONV, *CONV_TRANSPOSE, LINEAR)


@dataclass(frozen=True)
class Affine:
    """`y = x * scale + shift` for each channel, both float64 of shape (channels,)."""

    scale: torch.Tensor
    shift: torch.Tensor


def constant64(graph: Graph, node: Node) -> torch.Tensor:
    """Return the tensor behind a `get_attr` node in float64."""
    tensor = get_constant(graph, node)
    assert tensor is not None
    return tensor.detach().double()


def channel_dim(layer: Node) -> int:
    """Return the dimension of a layer's input and output that its weights reach: 1, or the last of a linear layer."""
    return len(shape(layer)) - 1 if is_op(layer, LINEAR) else 1


def owns_weights(graph: Graph, layer: Node, asking: Node) -> bool:
    """Tell whether the weights of `layer` are constants that only it reads; the reason is noted for `asking`."""
    call = arguments(layer)
    for source in (call.weight, call.bias):
        if source is None:
            continue
        if get_constant(graph, source) is None:
            return no(f"the weights of {layer.name!r} are computed, not constant", asking)
        others = [reader.name for reader in readers(graph, source) if reader is not layer]
        if others:
            return no(f"a weight of {layer.name!r} is shared with {others[0]!r}", asking)
    return True


def takes_before(layer: Node, affine: Affine, asking: Node) -> bool:
    """Tell whether `layer` can do `affine` on its input: zeros that it pads with are not shifted."""
    if bool((affine.shift == 0).all()) or is_op(layer, LINEAR):
        return True
    if is_op(layer, *CONV_TRANSPOSE):
        return no(f"it adds, and the edges of {layer.name!r} after it see fewer inputs", asking)
    if any(per_dim(arguments(layer).padding, 1)):
        return no(f"it adds, and {layer.name!r} after it pads with zeros", asking)
    return True


def apply_after(graph: Graph, layer: Node, affine: Affine) -> None:
    """Let `layer` return `affine` of its output: W * s, b * s + t."""
    call = arguments(layer)
    weight = constant64(graph, call.weight)
    if is_op(layer, *CONV_TRANSPOSE):  # (in, out / groups, ...), the groups side by side in the first dimension
        grouped = weight.reshape(call.groups, -1, *weight.shape[1:])
        scale = affine.scale.reshape(call.groups, 1, weight.shape[1], *[1] * (weight.dim() - 2))
        weight = (grouped * scale).reshape(weight.shape)
    else:
        weight = weight * affine.scale.reshape(-1, *[1] * (weight.dim() - 1))
    if call.bias is not None:
        _store(graph, layer, weight, constant64(graph, call.bias) * affine.scale + affine.shift)
    else:
        _store(graph, layer, weight, affine.shift if bool(affine.shift.any()) else None)


def apply_before(graph: Graph, layer: Node, affine: Affine) -> None:
    """Let `layer` read `affine` of its input: W * s, b + sum(W * t)."""
    call = arguments(layer)
    weight = constant64(graph, call.weight)
    if is_op(layer, *CONV_TRANSPOSE):
        _store(graph, layer, weight * affine.scale.reshape(-1, *[1] * (weight.dim() - 1)), None)
        return
    groups = 1 if is_op(layer, LINEAR) else call.groups
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    by_input = (groups, 1, weight.shape[1], *[1] * (weight.dim() - 2))
    scaled = (grouped * affine.scale.reshape(by_input)).reshape(weight.shape)
    added = (grouped * affine.shift.reshape(by_input)).reshape(weight.shape[0], -1).sum(dim=1)
    if not bool(added.any()):
        _store(graph, layer, scaled, None)
    else:
        _store(graph, layer, scaled, added if call.bias is None else constant64(graph, call.bias) + added)


def _store(graph: Graph, layer: Node, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Put new weights in the place of the layer's old ones; a bias it did not have stands beside the weight."""
    call = arguments(layer)
    _replace_constant(graph, call.weight, weight)
    if bias is None:
        return
    if call.bias is not None:
        _replace_constant(graph, call.bias, bias)
        return
    name = str(call.weight.target)
    like = f"{name.removesuffix('weight')}bias" if name.endswith("weight") else f"{name}_bias"
    old = get_constant(graph, call.weight)
    assert old is not None
    constant = Emitter(graph, layer).constant(_like(old, bias), like=like)
    layer.args = (*layer.args[:2], constant, *layer.args[3:])
    layer.kwargs = {key: argument for key, argument in layer.kwargs.items() if key != "bias"}


def _replace_constant(graph: Graph, node: Node, tensor: torch.Tensor) -> None:
    old = get_constant(graph, node)
    assert old is not None
    set_constant(graph, str(node.target), _like(old, tensor))


def _like(old: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Give `tensor` the dtype of `old`, and make it a parameter where `old` is one."""
    new = tensor.to(old.dtype)
    return torch.nn.Parameter(new) if isinstance(old, torch.nn.Parameter) else new
