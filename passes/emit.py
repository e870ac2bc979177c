"""Writing nodes: every new node is described (`meta["val"]`) at once, and views have one form each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node

from prunus.passes.graph import Graph, add_constant, aten, shape, value


class Emitter:
    """Writes nodes ahead of one node of a graph.

    Calling it with a target and arguments adds a call; the methods write the five views that stay in a graph
    (reshape, permute, slice, select, expand) and leave out those that would change nothing.

    Args:
        graph: the graph.
        before: the node ahead of which it writes.
        name: what names of new nodes start with; the name of `before` by default.
    """

    def __init__(self, graph: Graph, before: Node, *, name: str = "") -> None:
        self.graph, self.before, self.name = graph, before, name or before.name
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)

    def __call__(self, target: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Node:
        with self.graph.graph.inserting_before(self.before):
            name = f"{self.name}_{target._schema.name.split('::')[1].strip('_')}"
            node = self.graph.graph.create_node("call_function", target, args, kwargs, name)
        with self.mode, torch.no_grad():
            result = target(*torch.fx.map_arg(args, self.describe), **torch.fx.map_arg(kwargs, self.describe))
        node.meta["val"] = tuple(result) if isinstance(result, list) else result
        if "stack_trace" in self.before.meta:
            node.meta["stack_trace"] = self.before.meta["stack_trace"]
        return node

    def describe(self, node: Node) -> torch.Tensor:
        """Return a fake tensor with the shape and dtype of `node`."""
        with self.mode:
            return torch.empty(shape(node), dtype=value(node).dtype)

    def constant(self, tensor: torch.Tensor, like: str) -> Node:
        """Store a tensor under a free name near `like`."""
        return add_constant(self.graph, tensor, like=like, before=self.before)

    def scalar(self, number: float | int | bool, dtype: torch.dtype) -> Node:
        """Store a number as a tensor without dimensions."""
        return self.constant(torch.tensor(number, dtype=dtype), like="scalar")

    def reshape(self, x: Node, sizes: Sequence[int]) -> Node:
        return x if list(shape(x)) == list(sizes) else self(aten.reshape.default, x, list(sizes))

    def permute(self, x: Node, dims: Sequence[int]) -> Node:
        dims = [dim % len(dims) for dim in dims]
        return x if dims == sorted(dims) else self(aten.permute.default, x, dims)

    def slice(self, x: Node, dim: int, start: int, end: int, step: int = 1) -> Node:
        """Cut `start` to `end` (both from 0 to the size) out of dimension `dim`."""
        dim %= len(shape(x))
        whole = (start, end, step) == (0, shape(x)[dim], 1)
        return x if whole else self(aten.slice.Tensor, x, dim, start, end, step)

    def select(self, x: Node, dim: int, index: int) -> Node:
        dim %= len(shape(x))
        return self(aten.select.int, x, dim, index % shape(x)[dim])

    def expand(self, x: Node, sizes: Sequence[int]) -> Node:
        return x if list(shape(x)) == list(sizes) else self(aten.expand.default, x, list(sizes))

    def cast(self, x: Node, dtype: torch.dtype) -> Node:
        return x if value(x).dtype == dtype else self(aten._to_copy.default, x, dtype=dtype)


def replace(node: Node, new: Node) -> None:
    """Let everything that reads `node` read `new`; a call written just before `node` takes over its name and place."""
    if new.op == "call_function" and node.op == "call_function" and node.prev is new and not _read_by_others(new, node):
        node.target = new.target
        node.args, node.kwargs = new.args, new.kwargs
        node.meta["val"] = new.meta["val"]
        new.graph.erase_node(new)
        return
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)


def _read_by_others(new: Node, node: Node) -> bool:
    return any(user is not node for user in new.users)
