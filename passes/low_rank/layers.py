"""What can be factorised in a graph, and what not and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor
from torch.fx import Node

import prunus.passes.operators.recurrent  # noqa: F401  registers the operators
from prunus.errors import LowRankError, did_you_mean
from prunus.passes.arguments import arguments, per_dim
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, readers
from prunus.passes.layers import CONV, CONV_TRANSPOSE, LINEAR
from prunus.passes.low_rank.behind import metric_of

RECURRENT = (
    torch.ops.prunus.gru_layer.default, torch.ops.prunus.lstm_layer.default, torch.ops.prunus.rnn_layer.default
)  # fmt: skip


@dataclass(frozen=True)
class Weighted:
    """A call with a weight.

    Attributes:
        node: the call.
        weight: float32, detached.
    """

    node: Node
    weight: Tensor

    @property
    def name(self) -> str:
        """Name of the call."""
        return self.node.name

    @property
    def weight_name(self) -> str:
        """Name of the parameter."""
        return str(arguments(self.node).weight.target)


@dataclass(frozen=True)
class Layer(Weighted):
    """A linear layer or a convolution, weight (O, I, *kernel).

    Attributes:
        bias: (O,), detached.
        stride, padding, dilation: one number for each dimension of the kernel.
    """

    bias: Tensor | None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()

    @property
    def reads(self) -> Node:
        """The node whose result it reads."""
        node: Node = arguments(self.node).input
        return node

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])

    def windows(self, read: Tensor) -> Tensor:
        """Return a view of an input: (places..., I, *kernel), what each output position reads."""
        if not self.kernel:
            return read
        read = torch.nn.functional.pad(read, [side for size in reversed(self.padding) for side in (size, size)])
        for dim, (size, stride, dilation) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True)):
            read = read.unfold(2 + dim, (size - 1) * dilation + 1, stride)[..., ::dilation]
        dims = len(self.kernel)
        return read.movedim(1, 1 + dims)  # (N, I, *places, *kernel) --> (N, *places, I, *kernel)


@dataclass(frozen=True)
class Table(Weighted):
    """An embedding, weight (rows, D).

    Attributes:
        metric: how far the layers behind tell rows apart (`metric_of`), (D, D) float64; None where that is not known.
    """

    metric: Tensor | None = None

    @property
    def reads(self) -> Node:
        """The node whose result it reads."""
        node: Node = arguments(self.node).indices
        return node


@dataclass(frozen=True)
class Refusal:
    """A layer that stays.

    Attributes:
        name: name of its node.
        weight: name of its weight.
        bytes: of its weight.
        why: one sentence.
    """

    name: str
    weight: str
    bytes: int
    why: str


def find_layers(graph: Graph, keep: Sequence[str]) -> tuple[list[Layer], list[Table], list[Refusal]]:
    """Sort the layers of a graph in canonical form, in its order.

    Raises:
        LowRankError: a pattern of `keep` that matches nothing.
    """
    layers: list[Layer] = []
    tables: list[Table] = []
    refused: list[Refusal] = []
    kept = _kept(graph, keep)
    for node in calls(graph, *CONV, *CONV_TRANSPOSE, LINEAR, aten.embedding.default, *RECURRENT):
        weight = get_constant(graph, arguments(node).weight)
        why = _refusal(graph, node, weight, kept)
        if why or weight is None:
            size = 0 if weight is None else weight.numel() * weight.element_size()
            refused.append(Refusal(node.name, str(getattr(arguments(node).weight, "target", "")), size, why))
        elif is_op(node, aten.embedding.default):
            tables.append(Table(node, weight.detach(), metric_of(graph, node)))
        else:
            layers.append(_layer(graph, node, weight.detach()))
    return layers, tables, refused


def _layer(graph: Graph, node: Node, weight: Tensor) -> Layer:
    call, dims = arguments(node), weight.dim() - 2
    bias = get_constant(graph, call.bias)
    bias = None if bias is None else bias.detach()
    if is_op(node, LINEAR):
        return Layer(node, weight, bias)
    steps = (tuple(per_dim(sizes, dims)) for sizes in (call.stride, call.padding, call.dilation))
    return Layer(node, weight, bias, *steps)


def _refusal(graph: Graph, node: Node, weight: Tensor | None, kept: set[Node]) -> str:
    """Say why a layer stays; an empty text where nothing is in the way."""
    call = arguments(node)
    if node in kept:
        return "keep= names it"
    if is_op(node, *RECURRENT):
        return "it multiplies its state inside of the loop over time, where no kernel takes factors"
    if weight is None:
        return "its weights are computed, not constant"
    if weight.dtype != torch.float32:
        return f"its weights are {str(weight.dtype).removeprefix('torch.')}, not float32"
    others = [reader.name for reader in readers(graph, call.weight) if reader is not node]
    if others:
        return f"its weight is shared with {others[0]!r}"
    if getattr(call, "bias", None) is not None and get_constant(graph, call.bias) is None:
        return "its bias is computed, not constant"
    if is_op(node, *CONV_TRANSPOSE):
        return "it is a transposed convolution"
    if getattr(call, "groups", 1) != 1:
        return f"its {call.groups} groups are small products already"
    if not bool(torch.isfinite(weight).all()):
        return "its weights are not finite"
    if min(weight.shape[:2]) < 2:
        return "its rank is 1 already"
    return ""


def _kept(graph: Graph, keep: Iterable[str]) -> set[Node]:
    """Return the calls that a pattern matches by their name or by that of a parameter they read."""
    names = {
        node: {node.name, *(str(source.target) for source in node.all_input_nodes if source.op == "get_attr")}
        for node in calls(graph)
    }
    found: set[Node] = set()
    for pattern in keep:
        matched = {node for node, known in names.items() if any(fnmatchcase(name, pattern) for name in known)}
        if not matched:
            raise LowRankError(
                f"keep={pattern!r} matches no layer", expected="a pattern of parameter or node names, 'head.*'",
                do=did_you_mean(pattern, {name for known in names.values() for name in known}),
            )  # fmt: skip
        found |= matched
    return found
