"""The dependency graph, and the way from a layer to what protects it."""

import torch
from torch import Tensor, nn

from prunus.frontend import import_model
from prunus.passes.canonical import canonical
from prunus.passes.prune import dependency_graph, describe, trace


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return (x + self.second(x)).relu()


def test_edges_join_what_is_cut_together() -> None:
    whole = trace(canonical(import_model(Net(), example_inputs=(torch.zeros(1, 3, 4, 5),))))
    graph = dependency_graph(whole)
    assert graph.edges[("first_weight", 0, 0), ("conv2d", 0, 1)]["call"] == "conv2d"
    assert graph.has_edge(("conv2d", 0, 1), ("add", 0, 1))
    assert graph.has_edge(("second_weight", 0, 1), ("conv2d", 0, 1))
    assert not graph.has_edge(("first_weight", 0, 1), ("conv2d", 0, 1))


def test_way_to_what_protects_a_layer() -> None:
    (first, second) = describe(import_model(Net(), example_inputs=(torch.zeros(1, 3, 4, 5),))).protected
    assert first.way == ("first_weight", "conv2d", "add", "relu")
    assert (second.way[0], second.way[-2:]) == ("second_weight", ("add", "relu"))
    assert first.reason.text == "it is an output of the model"
