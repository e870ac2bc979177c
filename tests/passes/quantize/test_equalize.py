"""Equalisation changes ranges and not one bit of the outputs."""

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.graph import copy_graph, get_constant
from prunus.passes.quantize import equalize


def uneven(module: nn.Module) -> nn.Module:
    """Give output channels ranges from 1/100 to 100."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
                spread = 10 ** torch.linspace(-2, 2, layer.weight.shape[0])
                layer.weight.mul_(spread.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    return module.eval()


CASES = {
    "convolutions": (
        nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.Conv2d(7, 5, 1), nn.LeakyReLU(), nn.Conv2d(5, 3, 1)),
        6,
    ),
    "depthwise": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 3, 1)),
        6,
    ),
    "pool": (nn.Sequential(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 4, 2, bias=False)), 8),
}


def spread_of(graph: Graph, name: str) -> float:
    (node,) = (node for node in graph.graph.nodes if node.op == "get_attr" and node.target == name)
    weight = get_constant(graph, node)
    assert weight is not None
    ranges = weight.abs().flatten(1).amax(1)
    return float(ranges.max() / ranges.min())


@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str) -> None:
    torch.manual_seed(0)
    module, size = CASES[name]
    x = torch.randn(2, 3, size, size)
    graph = run_passes(import_torch(uneven(module), (x,)), DEFAULT, (x,))
    even = equalize(copy_graph(graph))
    with torch.no_grad():
        assert torch.equal(graph(x)[0], even(x)[0])
    assert spread_of(even, "0.weight") < 0.3 * spread_of(graph, "0.weight")


def test_linear_layers() -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 3)), torch.randn(4, 5)
    graph = run_passes(import_torch(uneven(module), (x,)), DEFAULT, (x,))
    even = equalize(copy_graph(graph))
    with torch.no_grad():
        assert torch.equal(graph(x)[0], even(x)[0])
    assert spread_of(even, "0.weight") < spread_of(graph, "0.weight")


@pytest.mark.parametrize(
    "between", [nn.ReLU6(), nn.Hardswish(), nn.Sequential(nn.ReLU(), nn.Flatten(2))], ids=["clamp", "curve", "view"]
)
def test_what_a_scale_would_change_stays(between: nn.Module) -> None:
    torch.manual_seed(0)
    last = nn.Conv1d(4, 3, 1) if isinstance(between, nn.Sequential) else nn.Conv2d(4, 3, 1)
    module, x = nn.Sequential(nn.Conv2d(3, 4, 1), between, last), torch.randn(2, 3, 5, 5)
    graph = run_passes(import_torch(uneven(module), (x,)), DEFAULT, (x,))
    assert spread_of(equalize(copy_graph(graph)), "0.weight") == spread_of(graph, "0.weight")
