"""Concatenation without copies: producers write into their part of the whole."""

from dataclasses import dataclass

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.fuse import Group
from prunus.passes.graph import shape


@dataclass(frozen=True)
class Placement:
    """A value is elements start..start + length of `whole` along `dim`."""

    whole: Node
    dim: int
    start: int
    length: int


def place_concats(groups: list[Group]) -> dict[Node, Placement]:
    """Return which values can be computed right where a concatenation wants them.

    Those are results of kernels and of other concatenations that are in no other concatenation yet; others are copied.
    """
    produced = {group.output for group in groups if group.kind != "view"}
    found: dict[Node, Placement] = {}
    for group in reversed(groups):
        if group.kind != "cat":
            continue
        node = group.output
        call = arguments(node)
        dim, start = call.dim % len(shape(node)), 0
        for source in call.tensors:
            length = shape(source)[dim]
            if source in produced and source not in found and not is_result(source):
                found[source] = Placement(node, dim, start, length)
            start += length
    return found


def is_result(node: Node) -> bool:
    """Tell whether the graph returns a node."""
    return any(user.op == "output" for user in node.users)
