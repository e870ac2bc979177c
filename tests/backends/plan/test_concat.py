"""Which values are computed right where a concatenation wants them."""

import torch
from torch import nn

from prunus.backends.plan.concat import place_concats
from prunus.frontend import import_model
from prunus.passes.fuse import fuse
from prunus.passes.graph import Graph, aten, calls


def import_graph(module: nn.Module, *examples: torch.Tensor) -> Graph:
    return import_model(module.eval(), example_inputs=examples)


class Joins(nn.Module):
    """Joins an input, a result twice, a slice, and a result that is returned."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        once, returned = torch.relu(x), torch.exp(x)
        return torch.cat([x, once, once, once[:, :1], returned], 1), returned


def test_only_results_of_kernels_that_stay_inside_are_placed() -> None:
    graph = import_graph(Joins(), torch.randn(2, 3, 4))
    (placement,) = place_concats(fuse(graph)).items()
    (cat,) = calls(graph, aten.cat.default)
    (relu,) = calls(graph, aten.relu.default)
    assert placement[0] is relu
    assert (placement[1].whole, placement[1].dim, placement[1].start, placement[1].length) == (cat, 1, 3, 3)


class Nested(nn.Module):
    """A concatenation inside another, along the last dimension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.cat([torch.relu(x), torch.exp(x)], -1)
        return torch.cat([torch.sin(x), torch.tanh(inner), inner], -1)


def test_a_concatenation_lies_in_another() -> None:
    graph = import_graph(Nested(), torch.randn(2, 3, 5))
    placements = place_concats(fuse(graph))
    inner, outer = calls(graph, aten.cat.default)
    assert placements[inner].whole is outer
    places = {node.name: (place.whole, place.dim, place.start, place.length) for node, place in placements.items()}
    assert places == {
        "relu": (inner, 2, 0, 5),
        "exp": (inner, 2, 5, 5),
        "sin": (outer, 2, 0, 5),
        "tanh": (outer, 2, 5, 10),
        inner.name: (outer, 2, 15, 10),
    }


class Twice(nn.Module):
    """One value in two concatenations."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x)
        return torch.cat([y, torch.sin(x)], 0).sum(0) + torch.cat([torch.exp(x), y], 0).sum(0)


def test_a_value_lies_in_one_concatenation_only() -> None:
    graph = import_graph(Twice(), torch.randn(2, 3))
    placements = place_concats(fuse(graph))
    assert sorted(node.name for node in placements) == ["exp", "relu", "sin"]
