"""Graphs that are compared see the same portions of the samples."""

import torch
from torch import nn

from prunus.frontend import import_model
from prunus.passes.quantize.watch import watch, watch_together
from prunus.passes.recovery import Batches


class Across(nn.Module):
    """Reads across the batch, so that samples go in as they were exported."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(3, 2) - x.mean()


def graph_of(module: nn.Module) -> tuple[torch.fx.GraphModule, str]:
    graph = import_model(module, example_inputs=(torch.randn(2, 3),))
    return graph, list(graph.graph.nodes)[-2].name


def test_alone_a_graph_takes_as_many_samples_as_it_can() -> None:
    samples, sizes = Batches([torch.randn(70, 3)]), []
    for module in (nn.Linear(3, 3), Across()):
        graph, last = graph_of(module)
        watch(graph, samples, [last], lambda name, found: sizes.append(found.numel()))
    assert sizes == [64 * 3, 6 * 3, *[6] * 35]


def test_together_they_take_what_all_can() -> None:
    (free, last), (bound, end) = graph_of(nn.Linear(3, 3)), graph_of(Across())
    seen: list[tuple[str, int]] = []
    watch_together(
        [(graph, [name], lambda name, found: seen.append((name, found.numel())))
         for graph, name in ((free, last), (bound, end))],
        Batches([torch.randn(5, 3)]),
    )  # fmt: skip
    assert seen == [(last, 6), (end, 6)] * 2, "in turns; the fifth sample fills no portion"
