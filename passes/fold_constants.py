"""Compute before compiling what does not depend on the inputs."""

import math
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, calls, get_constant, tidy, value
from prunus.passes.reasons import no

SMALL_BYTES = 4096
GROWTH = 4
GROWTH_BYTES = 1_000_000


def fold_constants(graph: Graph) -> Graph:
    """Replace calls on constants by their result: a parameter if one went in (it can still be trained), else a buffer.

    before:  x -> linear(permute(W), b * 2) -> y
    after:   x -> linear(W', b') -> y

    Results are not stored where that would grow the model: spreading a tensor to more than 4 times its size (beyond
    4 kB), or any result of more than 1 MB and 4 times what it is made of.
    """
    constant = _constant_nodes(graph)
    values: dict[Node, Any] = {}
    pending = [node for node in calls(graph) if _is_read_by_others(node, constant)]
    while pending:
        node = pending.pop()
        if not _may_store(graph, node):
            constant.discard(node)
            pending += [source for source in node.all_input_nodes if _is_read_by_others(source, constant)]
            continue
        result = _evaluate(graph, node, values)
        trained = any(isinstance(get_constant(graph, source), torch.nn.Parameter) for source in _sources(node))
        stored = result.clone(memory_format=torch.contiguous_format)
        if trained and stored.is_floating_point():
            stored = torch.nn.Parameter(stored)
        new = Emitter(graph, node).constant(stored, like=node.name)
        node.replace_all_uses_with(new, delete_user_cb=lambda user: user not in constant)
    return tidy(graph)


def _constant_nodes(graph: Graph) -> set[Node]:
    """Return the nodes that depend on nothing but parameters and buffers."""
    constant: set[Node] = set()
    for node in graph.graph.nodes:
        random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        called = node.op == "call_function" and not random
        if node.op == "get_attr" or (called and all(source in constant for source in node.all_input_nodes)):
            constant.add(node)
    return constant


def _is_read_by_others(node: Node, constant: set[Node]) -> bool:
    called = node.op == "call_function" and isinstance(node.meta["val"], torch.Tensor)
    return called and node in constant and any(user not in constant for user in node.users)


def _may_store(graph: Graph, node: Node) -> bool:
    result_bytes = _bytes(value(node))
    source_bytes = sum(_bytes(value(source)) for source in _sources(node))
    limit = SMALL_BYTES if node.target is aten.expand.default else GROWTH_BYTES
    if result_bytes <= max(limit, GROWTH * source_bytes):
        return True
    return no(f"its {result_bytes} bytes are made of only {source_bytes}", node)


def _sources(node: Node) -> set[Node]:
    """Return the `get_attr` nodes that a constant node is made of."""
    found, pending, seen = set(), [node], {node}
    while pending:
        current = pending.pop()
        if current.op == "get_attr":
            found.add(current)
        fresh = [source for source in current.all_input_nodes if source not in seen]
        seen.update(fresh)
        pending += fresh
    return found


def _evaluate(graph: Graph, node: Node, values: dict[Node, Any]) -> Any:
    """Compute a constant node; what is computed on the way is kept in `values`."""
    pending = [node]
    while pending:
        current = pending[-1]
        missing = [source for source in current.all_input_nodes if source not in values]
        if missing:
            pending += missing
            continue
        pending.pop()
        if current.op == "get_attr":
            tensor = get_constant(graph, current)
            assert tensor is not None
            values[current] = tensor.detach()
        else:
            args, kwargs = torch.fx.map_arg((current.args, current.kwargs), lambda source: values[source])
            with torch.no_grad():
                values[current] = current.target(*args, **kwargs)  # type: ignore[operator]
    return values[node]


def _bytes(tensor: torch.Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()
