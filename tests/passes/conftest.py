"""What all tests of passes share: graphs from modules, and passes run and compared with PyTorch."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from prunus.frontend.torch import import_torch
from prunus.passes import Graph, Pass, run_passes
from prunus.passes.numbers import largest_error

Apply = Callable[..., Graph]


def apply_passes(module: nn.Module, inputs: Sequence[Tensor], *passes: Pass, max_error: float = 1e-5) -> Graph:
    """Export `module`, run `passes`, compare the result with the module itself and return it."""
    module.eval()
    graph = run_passes(import_torch(module, tuple(inputs)), passes, inputs)
    with torch.no_grad():
        expected, found = module(*inputs), graph(*inputs)
    expected = (expected,) if isinstance(expected, Tensor) else tuple(expected)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        assert largest_error(theirs, ours) <= max_error
    return graph


@pytest.fixture
def apply() -> Apply:
    """`apply(module, inputs, *passes)` runs passes on a module, compares numbers and returns the graph."""
    torch.manual_seed(0)
    return apply_passes


class Formula(nn.Module):
    """A module made of one function, and tensors that it owns as parameters."""

    def __init__(self, function: Callable[..., object], **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in parameters.items():
            self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs, **dict(self.named_parameters()))


@pytest.fixture
def formula() -> type[Formula]:
    """`formula(function, weight=tensor)` is a module that computes `function(*inputs, weight=weight)`."""
    return Formula


@pytest.fixture
def operators() -> Callable[[Graph], list[str]]:
    """Return the names of the operators that a graph calls, in order: `["conv2d", "relu"]`."""

    def names(graph: Graph) -> list[str]:
        return [str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"]

    return names


@pytest.fixture
def reasons() -> Callable[[Graph], str]:
    """Return what the last pass said about nodes that it left alone, one a line."""
    return lambda graph: "\n".join(map(str, graph.meta["passes"][-1].reasons))
