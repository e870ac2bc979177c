"""Nested concatenations: a dense block writes each feature map once."""

import pytest
import torch

from prunus.frontend import import_model
from prunus.passes import decompose, nest_concats
from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, calls


class Growing(torch.nn.Module):
    """Concatenations that repeat their first parts."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z = x * y
        results = []
        for count, dim in enumerate(self.dims, start=2):
            results.append(torch.cat([x, y, z, x + 1][:count], dim))
        return tuple(results)


def imported(dims: tuple[int, ...]) -> tuple[Graph, list[torch.Tensor]]:
    torch.manual_seed(0)
    examples = [torch.randn(3, 3, 3), torch.randn(3, 3, 3)]
    return decompose(import_model(Growing(dims), example_inputs=examples)), examples


@pytest.mark.parametrize(
    ("dims", "parts"), [((1, 1, 1), [2, 2, 2]), ((1, 0, 1), [2, 3, 3]), ((-1, 2), [2, 2])], ids=str
)
def test_parts_and_numbers(dims: tuple[int, ...], parts: list[int]) -> None:
    graph, examples = imported(dims)
    expected = graph(*examples)
    after = nest_concats(graph)
    assert [len(arguments(node).tensors) for node in calls(after, aten.cat.default)] == parts
    for old, new in zip(expected, after(*examples), strict=True):
        assert torch.equal(old, new)
