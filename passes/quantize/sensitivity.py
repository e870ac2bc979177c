"""How much each layer alone, rounded, changes what a model returns."""

from dataclasses import replace

import torch
from torch import Tensor

from prunus.compression import Quantize
from prunus.passes.graph import Graph, copy_graph
from prunus.passes.quantize.annotate import annotate
from prunus.passes.quantize.calibrate import calibrate
from prunus.passes.quantize.grid import Grid
from prunus.passes.quantize.kinds import Kind, data
from prunus.passes.quantize.prepare import prepare
from prunus.passes.recovery import Batches
from prunus.passes.trainable import TrainableGraph
from prunus.targets import Target

SAMPLES = 64
"""So many are compared."""


def rank_layers(graph: Graph, config: Quantize, target: Target) -> list[tuple[str, float]]:
    """Return the layers that can be int8 with the noise that each brings into the outputs, loudest first.

    Only the layer's weights and its input are rounded, all else stays in float32; the noise is the squared error of
    the outputs as a share of their variance, added up over the outputs.

    Args:
        graph: float32, batch norm folded; it stays as it is.
        config: calibration, bits, and patterns of layers that stay in float32 anyway.
        target: decides over the bits of weights.
    """
    batches = Batches(config.calibration)
    some = [tensor[:SAMPLES] for tensor in batches.tensors]
    plan = annotate(graph, target, bits=config.bits, keep=config.keep)
    grids = {node.name: grid for node, grid in calibrate(graph, plan, batches, config.observer).items()}
    truth = _outputs(graph, some)
    noise = {
        node.name: _noise(truth, _outputs(_rounded(graph, node.name, config, target, grids), some))
        for node, kind in plan.kinds.items()
        if kind is Kind.LAYER
    }
    return sorted(noise.items(), key=lambda item: -item[1])


def _rounded(graph: Graph, layer: str, config: Quantize, target: Target, grids: dict[str, Grid]) -> Graph:
    copy = copy_graph(graph)
    plan = annotate(copy, target, bits=config.bits, keep=config.keep)
    (node,) = (node for node in plan.kinds if node.name == layer)
    alone = replace(
        plan,
        kinds={node: Kind.LAYER},
        values=tuple(data(node)),
        tied=(),
        joined=(),
        weight_bits={node: plan.weight_bits[node]},
    )
    return prepare(copy, alone, {source: grids[source.name] for source in data(node)})


def _outputs(graph: Graph, inputs: list[Tensor]) -> list[Tensor]:
    with torch.no_grad():
        result = TrainableGraph(graph)(*inputs)
    return [output for output in ([result] if isinstance(result, Tensor) else result) if output.is_floating_point()]


def _noise(truth: list[Tensor], found: list[Tensor]) -> float:
    return sum(
        float((one - other).square().mean() / one.var(correction=0).clamp_min(1e-12))
        for one, other in zip(truth, found, strict=True)
    )
