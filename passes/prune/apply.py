"""Physical surgery: smaller parameters, and calls that fit them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.errors import PruneError
from prunus.passes.arguments import arguments
from prunus.passes.check import check
from prunus.passes.graph import Graph, copy_graph, get_constant, propagate_shapes, set_constant, tidy
from prunus.passes.prune.resize import RESIZES, Kept, Mask
from prunus.passes.prune.trace import Trace


def masks_without(trace: Trace, cut: Iterable[int]) -> dict[str, tuple[tuple[Mask, ...], ...]]:
    """Return which indices are left without the classes `cut`: for each node, result and dimension."""
    left = np.ones(len(trace.classes), dtype=bool)
    left[list(cut)] = False
    return {
        name: tuple(tuple(left[labels] for labels in dims) for dims in results) for name, results in trace.dims.items()
    }


def apply_cut(trace: Trace, cut: Iterable[int], *, verified: bool = True) -> Trace:
    """Return a graph without the classes `cut`, with parameters of its own, and what goes together in it.

    before:  conv(W: 8, 3, 3, 3) -> batch_norm(8) -> reshape(1, 8 * 49) -> linear(W: 10, 8 * 49)
    after:   conv(W: 5, 3, 3, 3) -> batch_norm(5) -> reshape(1, 5 * 49) -> linear(W: 10, 5 * 49)

    Args:
        trace: of the graph, which stays as it is.
        cut: classes, whole units of `find_units`.
        verified: let PyTorch work out all shapes, and compare; without it only for graphs on the way to another cut.

    Raises:
        PruneError: the result is not what the rules say; a rule is wrong.
    """
    masks = masks_without(trace, cut)
    graph = copy_graph(trace.graph)
    before = list(graph.graph.nodes)
    smaller: dict[int, torch.Tensor] = {}  # by identity of the old tensor: shared parameters stay shared
    for node in before:
        if node.op == "get_attr" and node.name in masks:
            _cut_constant(graph, node, masks[node.name][0], smaller)
    for node in before:
        if node.op == "call_function" and node.target in RESIZES:
            call = arguments(node)
            for name, argument in RESIZES[node.target](Kept(graph, node, masks), call).items():
                set_argument(node, name, argument)
    for node in before:
        if node.name in masks:
            node.meta["val"] = _shrunk(node.meta["val"], masks[node.name])
    tidy(graph)
    if verified:
        _verify(graph, masks)
    dims = {
        name: tuple(
            tuple(labels[mask] for labels, mask in zip(*pair, strict=True))
            for pair in zip(results, masks[name], strict=True)
        )
        for name, results in trace.dims.items()
    }
    return replace(trace, graph=graph, dims=dims)


def _cut_constant(graph: Graph, node: Node, masks: tuple[Mask, ...], smaller: dict[int, torch.Tensor]) -> None:
    tensor = get_constant(graph, node)
    assert tensor is not None
    if id(tensor) in smaller:
        set_constant(graph, str(node.target), smaller[id(tensor)])
        return
    new = tensor.detach()
    for dim, mask in enumerate(masks):
        if not mask.all():
            new = new.index_select(dim, torch.from_numpy(mask.nonzero()[0]))
    new = new.clone(memory_format=torch.contiguous_format)
    if isinstance(tensor, torch.nn.Parameter):
        new = torch.nn.Parameter(new, requires_grad=tensor.requires_grad)
    # Both, so that a second `get_attr` of the same name finds what it is looking for.
    smaller[id(tensor)] = smaller[id(new)] = new
    set_constant(graph, str(node.target), new)


def set_argument(node: Node, name: str, argument: object) -> None:
    """Give an ATen call another value for the argument `name` of its schema."""
    assert isinstance(node.target, torch._ops.OpOverload)
    names = [known.name for known in node.target._schema.arguments]
    place = names.index(name)
    if name not in node.kwargs and place < len(node.args):
        node.update_arg(place, argument)  # type: ignore[arg-type]
    elif argument != getattr(arguments(node), name):
        node.update_kwarg(name, argument)  # type: ignore[arg-type]


def _shrunk(described: Any, masks: tuple[tuple[Mask, ...], ...]) -> Any:
    """Return the description of a value of the size that is left."""
    if isinstance(described, tuple | list):
        return tuple(_shrunk(one, (dims,)) for one, dims in zip(described, masks, strict=True))
    return described.new_empty([int(mask.sum()) for mask in masks[0]], device="meta")


def _verify(graph: Graph, masks: dict[str, tuple[tuple[Mask, ...], ...]]) -> None:
    """Compare the shapes that PyTorch works out with those that the rules do."""
    try:
        propagate_shapes(graph)
    except (RuntimeError, ValueError) as error:
        raise PruneError(
            f"the pruned graph does not run: {error}", expected="every cut to leave a graph that runs",
            do="keep the layers around this node with keep=[...], and report its operator",
        ) from error  # fmt: skip
    for node in graph.graph.nodes:
        if node.name not in masks:
            continue
        described = node.meta["val"]
        results = described if isinstance(described, tuple | list) else (described,)
        found = [tuple(map(int, result.shape)) for result in results]
        expected = [tuple(int(mask.sum()) for mask in dims) for dims in masks[node.name]]
        if found != expected:
            raise PruneError(
                f"node {node.name!r} has the shape {found} after pruning", expected=f"{expected}",
                do="keep the layers around it with keep=[...], and report its operator",
            )  # fmt: skip
    check(graph)
