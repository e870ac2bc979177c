"""Let a growing concatenation contain the one before it."""

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, calls, shape, tidy


def nest_concats(graph: Graph) -> Graph:
    """Replace the first parts of a concatenation by an earlier concatenation of just these.

    before:  a = cat(x, y);  b = cat(x, y, z)
    after:   a = cat(x, y);  b = cat(a, z)

    Planning lays `a` where `b` begins, so that the feature maps of a dense block are written once and never copied.
    """
    wholes: dict[tuple[int, tuple[Node, ...]], Node] = {}
    for node in calls(graph, aten.cat.default):
        call = arguments(node)
        parts, dim = tuple(call.tensors), call.dim % len(shape(node))
        wholes.setdefault((dim, parts), node)
        for count in range(len(parts) - 1, 1, -1):
            earlier = wholes.get((dim, parts[:count]))
            if earlier is not None:
                node.args = ([earlier, *parts[count:]], dim)
                break
    return tidy(graph)
