"""Padding: `constant_pad_nd` with a float value; every other kind selects rows and columns."""

from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape


@rule(aten.constant_pad_nd.default)
def constant_pad(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """constant_pad_nd(x, [-1, 0]) --> slice(x, ...); the value is always written"""
    sides = list(call.pad)
    if len(node.args) == 3 and all(side >= 0 for side in sides):
        return None
    x = call.self
    for place in range(len(sides) // 2):
        dim = len(shape(x)) - 1 - place
        left, right = sides[2 * place : 2 * place + 2]
        x = emit.slice(x, dim, max(0, -left), shape(x)[dim] - max(0, -right))
    return emit(aten.constant_pad_nd.default, x, [max(0, side) for side in sides], call.value)


@rule(aten.pad.default)
def pad(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """pad(x, sides, mode) --> constant_pad_nd(x, sides, value), or index_select of each padded dimension"""
    if call.mode == "constant":
        return emit(aten.constant_pad_nd.default, call.self, call.pad, 0.0 if call.value is None else call.value)
    return _select(emit, call.self, list(call.pad), call.mode)


@rule(aten.reflection_pad1d.default, aten.reflection_pad2d.default, aten.reflection_pad3d.default)
def reflection_pad(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """reflection_pad1d(x, [2, 1]) --> index_select(x, dim, [2, 1, 0, 1, ..., n - 1, n - 2])"""
    return _select(emit, call.self, list(call.padding), "reflect")


@rule(aten.replication_pad1d.default, aten.replication_pad2d.default, aten.replication_pad3d.default)
def replication_pad(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """replication_pad1d(x, [2, 1]) --> index_select(x, dim, [0, 0, 0, 1, ..., n - 1, n - 1])"""
    return _select(emit, call.self, list(call.padding), "replicate")


def _select(emit: Emitter, x: Node, sides: list[int], mode: str) -> Node:
    for place in range(len(sides) // 2):
        dim = len(shape(x)) - 1 - place
        left, right = sides[2 * place : 2 * place + 2]
        if left or right:
            index = _sources(shape(x)[dim], left, right, mode)
            x = emit(aten.index_select.default, x, dim, emit.constant(index, like=f"pad_{mode}"))
    return x


def _sources(size: int, left: int, right: int, mode: str) -> torch.Tensor:
    """Return where each element of a padded row comes from: int64 of shape (left + size + right,)."""
    places = torch.arange(-left, size + right)
    if mode == "replicate":
        return places.clamp(0, size - 1)
    if mode == "circular":
        return places % size
    return (size - 1) - ((size - 1) - places.abs()).abs()
