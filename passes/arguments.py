"""Arguments of a call by the names of its schema."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch.fx import Node


def arguments(node: Node) -> SimpleNamespace:
    """Return every argument of an ATen call under its schema's name, defaults filled in.

    >>> import torch
    >>> graph = torch.fx.Graph()
    >>> x = graph.placeholder("x")
    >>> call = arguments(graph.call_function(torch.ops.aten.flatten.using_ints, (x, 1)))
    >>> call.start_dim, call.end_dim
    (1, -1)
    """
    target = node.target
    assert isinstance(target, torch._ops.OpOverload), f"{node} calls {target}, which has no schema"
    bound: dict[str, Any] = {}
    for position, argument in enumerate(target._schema.arguments):
        if argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        elif position < len(node.args):
            bound[argument.name] = node.args[position]
        else:
            bound[argument.name] = argument.default_value
    return SimpleNamespace(**bound)


def per_dim(sizes: int | Sequence[int], dims: int) -> list[int]:
    """Return one number for each of `dims` dimensions; PyTorch lets a single number stand for all."""
    listed = [sizes] if isinstance(sizes, int) else list(sizes)
    return listed * dims if len(listed) == 1 else listed
