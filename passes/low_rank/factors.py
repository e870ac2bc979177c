"""A layer as several smaller ones: the value that methods return, and how it is written into a graph."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, add_constant, aten, get_constant, readers, set_constant, shape, value
from prunus.passes.low_rank.evidence import Evidence
from prunus.passes.low_rank.layers import Layer, Table

_CONV = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}


@dataclass(frozen=True)
class Stage:
    """One of the smaller layers.

    Attributes:
        name: what its weight's name ends in.
        weight: (O, I, *kernel) float32.
        stride, padding, dilation: as of `Layer`.
    """

    name: str
    weight: Tensor
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()


@dataclass(frozen=True)
class Factors:
    """A layer as several smaller ones, one after the other.

    Attributes:
        method: "svd", "spatial_svd" or "tucker2".
        ranks: what stays.
        full_ranks: what would be exact.
        error: share of the variance of the layer's outputs that is lost on the calibration inputs; without them, of the
            squares of its weights.
        stages: in the order in which they run.
        bias: of the last of them, (O,): the layer's own and the mean of what is lost.
    """

    method: str
    ranks: tuple[int, ...]
    full_ranks: tuple[int, ...]
    error: float
    stages: tuple[Stage, ...]
    bias: Tensor | None

    @property
    def bytes(self) -> int:
        """Bytes of all weights and of the bias."""
        tensors = [stage.weight for stage in self.stages] + ([] if self.bias is None else [self.bias])
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def macs(self, layer: Layer) -> int:
        """Multiplications with additions in one run of the graph that the layer is from."""
        return sum(
            math.prod(size) * stage.weight[0].numel()
            for size, stage in zip(self._sizes(shape(layer.reads)), self.stages, strict=True)
        )

    def _sizes(self, size: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shape of what each stage returns."""
        found = []
        for stage in self.stages:
            kernel = stage.weight.shape[2:]
            if not kernel:
                size = (*size[:-1], len(stage.weight))
            else:
                places = (
                    (extent + 2 * padding - (width - 1) * dilation - 1) // stride + 1
                    for extent, width, stride, padding, dilation in zip(
                        size[2:], kernel, stage.stride, stage.padding, stage.dilation, strict=True
                    )
                )
                size = (size[0], len(stage.weight), *places)
            found.append(tuple(size))
        return found


class Method(Protocol):
    """One way of factorising one layer, decomposed once and cut at any error."""

    def cut(self, error: float, multiple: int) -> Factors | None:
        """Return small factors that lose at most `error`, their ranks rounded up to a multiple.

        None where that takes the full rank.
        """


def whole(layer: Layer | Table) -> Factors:
    """Return a layer as it is, in the form of factors."""
    if isinstance(layer, Table):
        return Factors("", (), (), 0.0, (Stage("", layer.weight),), None)
    stage = Stage("", layer.weight, layer.stride, layer.padding, layer.dilation)
    return Factors("", (), (), 0.0, (stage,), layer.bias)


def moved_bias(layer: Layer, evidence: Evidence, instead: Tensor) -> Tensor | None:
    """Return the bias that keeps the mean of the outputs with the weight `instead`: b + (W - W') mean(x).

    The fit is one of deviations from the mean then, as in Zhang et al. 2016, arXiv:1505.06798, equation 5.
    """
    if evidence.mean is None:
        return layer.bias
    added = (layer.weight.double() - instead.double()).flatten(1) @ evidence.mean.flatten()
    return (added if layer.bias is None else layer.bias.double() + added).float()


def round_up(rank: int, multiple: int, most: int) -> int:
    """Return the next multiple, at most `most`."""
    return min(-(-rank // multiple) * multiple, most)


def write(graph: Graph, layer: Node, factors: Factors) -> None:
    """Write factors in the place of a layer; weights are parameters where the layer's is one."""
    call_weight, call_bias = layer.args[1], layer.args[2] if len(layer.args) > 2 else layer.kwargs.get("bias")
    assert isinstance(call_weight, Node)
    emit = Emitter(graph, layer)
    old = get_constant(graph, call_weight)
    x = layer.args[0]
    assert isinstance(x, Node)
    for stage in factors.stages:
        weight = emit.constant(same_kind(old, stage.weight), like=part_name(str(call_weight.target), stage.name))
        bias = _bias(graph, layer, call_bias, factors) if stage is factors.stages[-1] else None
        x = emit_stage(emit, x, stage, weight, bias)
    replace(layer, x)


def emit_stage(emit: Emitter, x: Node, stage: Stage, weight: Node, bias: Node | None) -> Node:
    """Write one stage."""
    if not stage.stride:
        return emit(aten.linear.default, x, weight, bias)
    steps = (list(stage.stride), list(stage.padding), list(stage.dilation))
    return emit(_CONV[len(stage.stride)], x, weight, bias, *steps, 1)


def layer_graph(layer: Layer, factors: Factors) -> Graph:
    """Return a graph of the factors alone, for estimates of their time."""
    graph = Graph(torch.nn.Module(), torch.fx.Graph())
    x = graph.graph.placeholder("x")
    x.meta["val"] = value(layer.reads)
    output = graph.graph.output((x,))
    emit = Emitter(graph, output, name=layer.name)
    result = x
    for number, stage in enumerate(factors.stages):
        weight = emit.constant(stage.weight, like=f"weight_{number}")
        last = number == len(factors.stages) - 1 and factors.bias is not None
        bias = emit.constant(factors.bias, like="bias") if last and factors.bias is not None else None
        result = emit_stage(emit, result, stage, weight, bias)
    output.args = ((result,),)
    graph.graph.lint()
    graph.recompile()
    return graph


def part_name(weight: str, part: str) -> str:
    """Return a name for a part of a weight.

    >>> part_name("head.weight", "narrow"), part_name("Const_0", "wide")
    ('head.narrow.weight', 'Const_0_wide')
    """
    owner, _, leaf = weight.rpartition(".")
    return f"{owner}.{part}.weight" if owner and leaf == "weight" else f"{weight}_{part}"


def _bias(graph: Graph, layer: Node, old: object, factors: Factors) -> Node | None:
    """Return the node of the last stage's bias, under the name of the old one where only this layer reads it."""
    if factors.bias is None:
        return None
    held = get_constant(graph, old if isinstance(old, Node) else layer.args[1])
    bias = same_kind(held, factors.bias)
    if not isinstance(old, Node):
        weight = str(getattr(layer.args[1], "target", "weight"))
        return add_constant(graph, bias, like=part_name(weight, "bias").removesuffix(".weight"), before=layer)
    if readers(graph, old) != [layer]:
        return add_constant(graph, bias, like=str(old.target), before=layer)
    set_constant(graph, str(old.target), bias)
    return old


def same_kind(old: Tensor | None, tensor: Tensor) -> Tensor:
    """Return a copy of `tensor`, a parameter where `old` is one."""
    copy = tensor.detach().to(torch.float32).clone(memory_format=torch.contiguous_format)
    return torch.nn.Parameter(copy, requires_grad=old.requires_grad) if isinstance(old, torch.nn.Parameter) else copy
