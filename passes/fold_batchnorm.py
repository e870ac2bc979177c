"""Fold batch norm in evaluation mode into the layer before it, the layer after it, or into a multiplication and addition."""

from dataclasses import dataclass

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments, per_dim
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, readers, set_constant, shape, tidy
from prunus.passes.reasons import no

CONV = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
CONV_TRANSPOSE = (aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
LINEAR = aten.linear.default


@dataclass(frozen=True)
class Affine:
    """`y = x * scale + shift` for each channel, both float64 of shape (channels,)."""

    scale: torch.Tensor
    shift: torch.Tensor


def fold_batchnorm(graph: Graph) -> Graph:
    """Fold batch norm into the layer before it, else into the layer after it, else into one multiplication and addition.

    before:  x -> conv(W, b) -> batch_norm(gamma, beta, mean, var) -> y
    after:   x -> conv(W * s, b * s + t) -> y,   s = gamma / sqrt(var + eps),   t = beta - mean * s

    before:  x -> batch_norm -> conv(W, b) -> y          (without padding, or t = 0)
    after:   x -> conv(W * s, b + sum(W * t)) -> y

    before:  x -> batch_norm -> y                        (anywhere else)
    after:   x -> * s -> + t -> y
    """
    for node in calls(graph, aten.batch_norm.default):
        affine = _affine(graph, node)
        if affine is None:
            continue
        x = arguments(node).input
        after = only_user(node)
        if _fits_before(graph, node, x):
            _fold_before(graph, x, affine)
            node.replace_all_uses_with(x)
            graph.graph.erase_node(node)
        elif after is not None and _fits_after(graph, node, after, affine):
            _fold_after(graph, after, affine)
            node.replace_all_uses_with(x)
            graph.graph.erase_node(node)
        else:
            _write_affine(graph, node, affine)
    return tidy(graph)


def _affine(graph: Graph, node: Node) -> Affine | None:
    """Return what batch norm computes, None where it depends on the batch or on computed weights."""
    call = arguments(node)
    if call.training or call.running_mean is None or call.running_var is None:
        no("statistics come from the batch: the graph is in training mode", node)
        return None
    tensors = [get_constant(graph, source) for source in (call.weight, call.bias, call.running_mean, call.running_var)]
    weight, bias, mean, var = (None if tensor is None else tensor.detach().double() for tensor in tensors)
    if mean is None or var is None or (weight is None) != (call.weight is None) or (bias is None) != (call.bias is None):
        no("its weights are computed, not constant", node)
        return None
    scale = (torch.ones_like(var) if weight is None else weight) / torch.sqrt(var + call.eps)
    return Affine(scale, (torch.zeros_like(mean) if bias is None else bias) - mean * scale)


def _fits_before(graph: Graph, node: Node, layer: Node) -> bool:
    if not is_op(layer, *CONV, *CONV_TRANSPOSE, LINEAR):
        return no(f"{layer.name!r} before it is no layer with weights", node)
    if only_user(layer) is not node:
        return no(f"{layer.name!r} before it is read elsewhere too", node)
    return _channels_are_features(layer, node) and _weights_are_own(graph, layer, node)


def _fits_after(graph: Graph, node: Node, layer: Node, affine: Affine) -> bool:
    if not is_op(layer, *CONV, *CONV_TRANSPOSE, LINEAR) or arguments(layer).input is not node:
        return no(f"{layer.name!r} after it is no layer with weights", node)
    if not _channels_are_features(node, node, linear=is_op(layer, LINEAR)) or not _weights_are_own(graph, layer, node):
        return False
    if bool((affine.shift == 0).all()) or is_op(layer, LINEAR):
        return True
    if is_op(layer, *CONV_TRANSPOSE):
        return no(f"it adds, and the edges of {layer.name!r} after it see fewer inputs", node)
    if any(per_dim(arguments(layer).padding, 1)):
        return no(f"it adds, and {layer.name!r} after it pads with zeros", node)
    return True


def _channels_are_features(layer: Node, norm: Node, linear: bool | None = None) -> bool:
    """Tell whether dimension 1, which batch norm scales, is the one that the weights of the layer reach."""
    linear = is_op(layer, LINEAR) if linear is None else linear
    if linear and len(shape(layer)) != 2:
        return no("it scales dimension 1, the linear layer's features are the last of several", norm)
    return True


def _weights_are_own(graph: Graph, layer: Node, norm: Node) -> bool:
    call = arguments(layer)
    for source in (call.weight, call.bias):
        if source is None:
            continue
        if get_constant(graph, source) is None:
            return no(f"the weights of {layer.name!r} are computed, not constant", norm)
        others = [reader.name for reader in readers(graph, source) if reader is not layer]
        if others:
            return no(f"a weight of {layer.name!r} is shared with {others[0]!r}", norm)
    return True


def _fold_before(graph: Graph, layer: Node, affine: Affine) -> None:
    call = arguments(layer)
    weight = _tensor(graph, call.weight)
    if is_op(layer, *CONV_TRANSPOSE):  # (in, out / groups, ...), the groups side by side in the first dimension
        grouped = weight.reshape(call.groups, -1, *weight.shape[1:])
        scale = affine.scale.reshape(call.groups, 1, weight.shape[1], *[1] * (weight.dim() - 2))
        weight = (grouped * scale).reshape(weight.shape)
    else:
        weight = weight * affine.scale.reshape(-1, *[1] * (weight.dim() - 1))
    bias = affine.shift if call.bias is None else _tensor(graph, call.bias) * affine.scale + affine.shift
    _store(graph, layer, weight, bias)


def _fold_after(graph: Graph, layer: Node, affine: Affine) -> None:
    call = arguments(layer)
    weight = _tensor(graph, call.weight)
    if is_op(layer, *CONV_TRANSPOSE):
        scaled = weight * affine.scale.reshape(-1, *[1] * (weight.dim() - 1))
        added = torch.zeros((), dtype=torch.float64)
    else:
        groups = 1 if is_op(layer, LINEAR) else call.groups
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        by_input = (groups, 1, weight.shape[1], *[1] * (weight.dim() - 2))
        scaled = (grouped * affine.scale.reshape(by_input)).reshape(weight.shape)
        added = (grouped * affine.shift.reshape(by_input)).reshape(weight.shape[0], -1).sum(dim=1)
    if call.bias is None and not bool(added.any()):
        _store(graph, layer, scaled, None)
    else:
        _store(graph, layer, scaled, added if call.bias is None else _tensor(graph, call.bias) + added)


def _write_affine(graph: Graph, node: Node, affine: Affine) -> None:
    x = arguments(node).input
    emit = Emitter(graph, node)
    sizes = (-1, *[1] * (len(shape(node)) - 2))
    dtype = node.meta["val"].dtype
    scale = emit.constant(affine.scale.reshape(sizes).to(dtype), like=f"{node.name}.scale")
    shift = emit.constant(affine.shift.reshape(sizes).to(dtype), like=f"{node.name}.shift")
    replace(node, emit(aten.add.Tensor, emit(aten.mul.Tensor, x, scale), shift))


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
    new = torch.nn.Parameter(bias.to(old.dtype)) if isinstance(old, torch.nn.Parameter) else bias.to(old.dtype)
    constant = Emitter(graph, layer).constant(new, like=like)
    kept = {key: argument for key, argument in layer.kwargs.items() if key != "bias"}
    layer.args = (*layer.args[:2], constant, *layer.args[3:])
    layer.kwargs = kept


def _replace_constant(graph: Graph, node: Node, tensor: torch.Tensor) -> None:
    old = get_constant(graph, node)
    assert old is not None
    new = tensor.to(old.dtype)
    set_constant(graph, str(node.target), torch.nn.Parameter(new) if isinstance(old, torch.nn.Parameter) else new)


def _tensor(graph: Graph, node: Node) -> torch.Tensor:
    tensor = get_constant(graph, node)
    assert tensor is not None
    return tensor.detach().double()
