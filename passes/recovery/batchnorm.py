"""Measure the statistics of batch norm anew."""

import torch

from prunus.errors import InputError
from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, calls, get_constant
from prunus.passes.recovery.batches import Batches
from prunus.passes.trainable import TrainableGraph


def recalibrate_batchnorm(graph: Graph, batches: Batches, *, batch_size: int = 64) -> Graph:
    """Replace running means and variances by those of the calibration samples; weights stay. Returns `graph`.

    Pruning changes what reaches a batch norm, and its statistics are the cheapest part to bring up to date
    (Li et al. 2020, EagleEye, arXiv:2007.02491, section 3.3).

    Raises:
        InputError: statistics that are not finite.
    """
    nodes = list(calls(graph, aten.batch_norm.default))
    trainable = TrainableGraph(graph)
    if not nodes or not trainable.any_batch:
        return graph
    portions = [portion for portion in batches.ordered(batch_size) if len(portion[0]) > 1]
    for node in calls(trainable.graph_module, aten.dropout.default, aten.feature_dropout.default):
        node.replace_all_uses_with(arguments(node).input)
    trainable.train()
    with torch.no_grad():
        for count, portion in enumerate(portions, start=1):
            # A momentum of 1/n makes the running values the plain mean over the portions so far.
            for node in calls(trainable.graph_module, aten.batch_norm.default):
                node.update_arg(6, 1 / count)
            trainable.graph_module.recompile()
            trainable(*portion)
    for node in nodes:
        for statistic in node.args[3:5]:
            tensor = get_constant(graph, statistic)
            assert tensor is not None
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"{statistic} is not finite on the calibration samples", expected="finite numbers",
                    do="look for NaN and infinity in the samples, and before this layer",
                )  # fmt: skip
    return graph
