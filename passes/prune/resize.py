"""Arguments of calls that spell sizes out, after a cut: one small rule for each such operator."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.fx import Node

from prunus.passes.graph import Graph, add_constant, aten, get_constant
from prunus.passes.layers import CONV, CONV_TRANSPOSE

Mask = npt.NDArray[np.bool_]
"""Which indices along one dimension are left."""


@dataclass(frozen=True)
class Kept:
    """What is left around one call: masks of each dimension of its result and of its operands, by name of the node."""

    graph: Graph
    node: Node
    masks: dict[str, tuple[tuple[Mask, ...], ...]]

    def of(self, node: Node) -> tuple[Mask, ...]:
        """Return the masks of the one tensor that `node` produces."""
        (masks,) = self.masks[node.name]
        return masks

    @property
    def sizes(self) -> list[int]:
        """Sizes of the result."""
        return [int(mask.sum()) for mask in self.of(self.node)]


Resize = Callable[[Kept, SimpleNamespace], dict[str, Any]]
"""Takes the arguments of a call by name and returns those that change."""

RESIZES: dict[object, Resize] = {}


def resize(*targets: object) -> Callable[[Resize], Resize]:
    """Register the decorated function for operators."""

    def register(function: Resize) -> Resize:
        RESIZES.update(dict.fromkeys(targets, function))
        return function

    return register


@resize(aten.reshape.default)
def _reshape(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    return {"shape": kept.sizes}


@resize(aten.expand.default)
def _expand(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    return {"size": kept.sizes}


@resize(aten.slice.Tensor)
def _slice(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    mask = kept.of(call.self)[call.dim]
    if mask.all():
        return {}
    start, end, _ = slice(call.start, call.end).indices(len(mask))
    return {"start": int(mask[:start].sum()), "end": int(mask[: max(start, end)].sum())}


@resize(aten.select.int)
def _select(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    mask = kept.of(call.self)[call.dim]
    return {"index": int(mask[: call.index % len(mask)].sum())}


@resize(aten.constant_pad_nd.default)
def _pad(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    amounts = []
    before, after = kept.of(call.self), kept.of(kept.node)
    for place, (low, high) in enumerate(zip(call.pad[::2], call.pad[1::2], strict=True), start=1):
        amounts.append(_edge(before[-place], after[-place], low))
        amounts.append(_edge(before[-place][::-1], after[-place][::-1], high))
    return {"pad": amounts}


def _edge(before: Mask, after: Mask, amount: int) -> int:
    """Return how much to add at the front, or with a minus sign to take away."""
    return int(after[:amount].sum()) if amount >= 0 else -int(before[:-amount].sum())


@resize(*CONV, *CONV_TRANSPOSE)
def _convolution(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    channels = kept.of(call.input)[1 - len(kept.of(call.weight))]
    return {"groups": _groups(channels, call.groups)}


@resize(aten.group_norm.default)
def _group_norm(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    return {"num_groups": _groups(kept.of(call.input)[1], call.num_groups)}


def _groups(channels: Mask, groups: int) -> int:
    """Return how many groups have anything left."""
    return int(channels.reshape(groups, -1).any(axis=1).sum())


@resize(aten.layer_norm.default, aten.rms_norm.default)
def _row_norm(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    return {"normalized_shape": kept.sizes[-len(call.normalized_shape) :]}


@resize(aten.index_select.default)
def _index_select(kept: Kept, call: SimpleNamespace) -> dict[str, Any]:
    """Number the places anew."""
    source, result = kept.of(call.self)[call.dim], kept.of(kept.node)[call.dim]
    index = get_constant(kept.graph, call.index)
    if index is None or bool(source.all()):
        return {}
    places = torch.from_numpy(source.cumsum() - 1)
    renumbered = places[index.reshape(-1)][torch.from_numpy(result)].to(index.dtype)
    return {"index": add_constant(kept.graph, renumbered, like=f"{call.index.target}_cut", before=kept.node)}
