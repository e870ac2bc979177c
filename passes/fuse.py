"""Fuse the calls of a graph into groups: what one kernel computes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.fx import Node

import prunus.passes.operators.quantized  # noqa: F401  registers the operators
from prunus.passes.arguments import arguments
from prunus.passes.decompose import BINARY, UNARY
from prunus.passes.graph import Graph, aten, calls, is_op, only_user, value

quantized = torch.ops.prunus

ELEMENTWISE = frozenset(
    {
        *UNARY,
        *BINARY,
        quantized.quantize.default,
        quantized.dequantize.default,
        quantized.qadd.default,
        quantized.qmul.default,
    }
)
VIEWS = frozenset(
    {aten.reshape.default, aten.permute.default, aten.slice.Tensor, aten.select.int, aten.expand.default}
)  # fmt: skip
CONVS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
TAKES_EPILOGUE = frozenset(
    {
        *CONVS,
        aten.conv_transpose1d.default,
        aten.conv_transpose2d.input,
        aten.conv_transpose3d.input,
        aten.linear.default,
        aten.matmul.default,
        aten.max_pool2d.default,
        aten.max_pool3d.default,
        aten.avg_pool2d.default,
        aten.avg_pool3d.default,
        quantized.qconv.default,
        quantized.qconv_dequant.default,
        quantized.qlinear.default,
        quantized.qlinear_dequant.default,
    }
)


@dataclass(frozen=True)
class Group:
    """Calls that one kernel computes.

    Attributes:
        nodes: in topological order; a zero padding may stand ahead of a convolution.
        anchor: the call that decides on the kernel, None in a group of element-wise calls only.
        output: the one node that others read; an anchor of several results, with its `getitem` nodes in the group.
    """

    nodes: tuple[Node, ...]
    anchor: Node | None
    output: Node

    @property
    def kind(self) -> Literal["view", "cat", "compute"]:
        """What planning does with the group: rename elements, lay tensors side by side, or run a kernel."""
        if self.anchor is not None and self.anchor.target in VIEWS:
            return "view"
        return "cat" if is_op(self.anchor, aten.cat.default) else "compute"

    @property
    def inputs(self) -> tuple[Node, ...]:
        """Nodes outside the group that it reads, each once, in the order of reading."""
        inside = set(self.nodes)
        read = (source for node in self.nodes for source in node.all_input_nodes)
        return tuple(dict.fromkeys(source for source in read if source not in inside))

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of what the nodes call, "conv2d"; `getitem` nodes call nothing."""
        return tuple(node.target._schema.name.split("::")[1] for node in self.nodes if hasattr(node.target, "_schema"))

    @property
    def takes_epilogue(self) -> bool:
        """Whether element-wise calls may follow in the same kernel."""
        return self.anchor is None or self.anchor.target in TAKES_EPILOGUE


def fuse(graph: Graph) -> list[Group]:
    """Return groups that cover every call exactly once, in an order in which they can run.

    1. An element-wise call joins the group of an operand that nobody else reads, of equal shape; of several the one
       with an anchor, and of those the last to run: a residual sum joins the later convolution.
    2. An element-wise group joins the group whose result only it reads (`x * sigmoid(x)` its convolution), or the group
       that alone reads it (`relu(shortcut)` the convolution that adds it).
    """
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    groups: dict[Node, Group] = {}  # by member
    for node in calls(graph):
        _assign(node, groups, order)
    while _join_one(groups, order):
        pass
    return sorted(dict.fromkeys(groups.values()), key=lambda group: order[group.output])


def _assign(node: Node, groups: dict[Node, Group], order: dict[Node, int]) -> None:
    """Put `node` into the group of an operand, or into one of its own."""
    if not hasattr(node.target, "_schema"):  # getitem belongs to the operator of several results
        source = groups[node.all_input_nodes[0]]
        _enter(groups, Group((*source.nodes, node), source.anchor, source.output))
        return
    if node.target not in ELEMENTWISE:
        _enter(groups, Group((*_padding_before(node), node), node, node))
        return
    beside = [groups[operand] for operand in node.all_input_nodes if operand in groups]
    hosts = [group for group in beside if _can_follow(node, group)]
    if not hosts:
        _enter(groups, Group((node,), None, node))
        return
    host = max(hosts, key=lambda group: (group.anchor is not None, order[group.output]))
    _enter(groups, Group((*host.nodes, node), host.anchor, node))


def _can_follow(node: Node, host: Group) -> bool:
    return (
        host.takes_epilogue
        and host.output in node.all_input_nodes
        and only_user(host.output) is node
        and value(node).shape == value(host.output).shape
    )


def _padding_before(node: Node) -> tuple[Node, ...]:
    """Return the zero padding that a convolution takes in, if there is one that only it reads."""
    if not is_op(node, *CONVS):
        return ()
    pad = arguments(node).input
    if not is_op(pad, aten.constant_pad_nd.default) or only_user(pad) is not node:
        return ()
    call = arguments(pad)
    # Sides are counted from the last dimension on; batch and channels are no window's business.
    beyond = call.pad[2 * (value(pad).dim() - 2) :]
    return (pad,) if call.value == 0 and not any(beyond) else ()


def _join_one(groups: dict[Node, Group], order: dict[Node, int]) -> bool:
    """Join one pair of groups by rule 2; groups with anchors choose first, the last to run before the others."""
    hosts = sorted(
        (group for group in dict.fromkeys(groups.values()) if group.takes_epilogue),
        key=lambda group: (group.anchor is not None, order[group.output]),
        reverse=True,
    )
    for host in hosts:
        for guest in _neighbours(host, groups):
            first, last = (host, guest) if order[host.output] < order[guest.output] else (guest, host)
            if guest.anchor is None and _fits(first, last):
                nodes = tuple(sorted((*host.nodes, *guest.nodes), key=order.__getitem__))
                _enter(groups, Group(nodes, host.anchor, last.output))
                return True
    return False


def _neighbours(host: Group, groups: dict[Node, Group]) -> Iterable[Group]:
    beside = [*host.output.users, *host.inputs]
    return dict.fromkeys(groups[node] for node in beside if node in groups and groups[node] is not host)


def _fits(first: Group, last: Group) -> bool:
    """Tell whether only element-wise calls of `last` read `first`; what its anchor reads must be in memory before."""
    users, readers = set(first.output.users), {node for node in last.nodes if node.target in ELEMENTWISE}
    return bool(users) and users <= readers and _same_shape(first, last)


def _same_shape(first: Group, last: Group) -> bool:
    return value(first.output).shape == value(last.output).shape


def _enter(groups: dict[Node, Group], group: Group) -> None:
    for node in group.nodes:
        groups[node] = group
