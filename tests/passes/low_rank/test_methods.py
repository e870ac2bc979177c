"""Each method on one layer: exact at full rank, and honest about its error."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunus.frontend.torch import import_torch
from prunus.passes.graph import Graph
from prunus.passes.low_rank.evidence import Collected, Evidence, collect
from prunus.passes.low_rank.factors import Factors, layer_graph
from prunus.passes.low_rank.layers import Layer, find_layers
from prunus.passes.low_rank.spatial_svd import SpatialSvd
from prunus.passes.low_rank.svd import Svd
from prunus.passes.low_rank.tucker import Tucker2
from prunus.passes.recovery import Batches


def only_layer(module: nn.Module, x: Tensor) -> tuple[Graph, Layer]:
    graph = import_torch(module.eval(), (x,))
    ((layer,), _, _) = find_layers(graph, ())
    return graph, layer


@torch.no_grad()
def lost(truth: Tensor, answer: Tensor, channel: int) -> float:
    """Return the share of the variance of each channel that is lost, measured on outputs."""
    truth, answer = (
        truth.double().movedim(channel, -1).flatten(0, -2),
        answer.double().movedim(channel, -1).flatten(0, -2),
    )
    return float((truth - answer).square().sum() / (truth - truth.mean(0)).square().sum())


def run(layer: Layer, factors: Factors, x: Tensor) -> Tensor:
    (result,) = layer_graph(layer, factors)(x)
    assert isinstance(result, Tensor)
    return result


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(11, 7), (1, 11)),
    "linear without bias": (nn.Linear(5, 13, bias=False), (1, 3, 5)),
    "1x1": (nn.Conv2d(9, 6, 1, stride=2), (1, 9, 5, 7)),
    "3x3": (nn.Conv2d(6, 9, 3), (1, 6, 9, 8)),
    "5x3, strided": (nn.Conv2d(5, 7, (5, 3), stride=(2, 1), bias=False), (1, 5, 11, 8)),
    "dilated": (nn.Conv2d(5, 7, 3, dilation=2), (1, 5, 9, 10)),
    "conv1d": (nn.Conv1d(7, 5, 5, padding=2), (1, 7, 12)),
    "conv3d": (nn.Conv3d(3, 4, (1, 3, 2)), (1, 3, 4, 5, 6)),
    "padded": (nn.Conv2d(6, 9, 3, padding=1), (1, 6, 9, 8)),
}
METHODS: dict[str, Any] = {
    "svd": Svd,
    "spatial_svd": SpatialSvd,
    "tucker2": lambda layer, evidence: Tucker2(layer, evidence, by_time=False),
}


def suits(method: str, layer: Layer) -> bool:
    return {"svd": True, "spatial_svd": SpatialSvd.suits(layer), "tucker2": Tucker2.suits(layer)}[method]


@pytest.mark.parametrize("seen", [False, True], ids=["weights", "activations"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LAYERS)
def test_full_rank_is_the_layer(name: str, method: str, seen: bool) -> None:
    torch.manual_seed(0)
    module, size = LAYERS[name]
    x = torch.randn(size)
    graph, layer = only_layer(module, x)
    if not suits(method, layer):
        return
    samples = torch.randn(8, *size[1:]) + 0.5
    evidence = collect(graph, [layer], [], Batches([samples])).of(layer) if seen else Collected().of(layer)
    whole = METHODS[method](layer, evidence)
    factors = whole.at(*whole.full) if method == "tucker2" else whole.at(len(whole.spectrum.energies))
    torch.testing.assert_close(run(layer, factors, x), module(x), atol=1e-4, rtol=1e-4)
    assert factors.error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LAYERS)
def test_stated_errors_are_measured_errors(name: str, method: str) -> None:
    """So few samples that all columns are taken, those with zeros of a padding too."""
    torch.manual_seed(1)
    module, size = LAYERS[name]
    samples = torch.randn(4, *size[1:]) @ torch.randn(size[-1], size[-1]) + 1
    graph, layer = only_layer(module, samples[:1])
    if not suits(method, layer):
        return
    evidence = collect(graph, [layer], [], Batches([samples])).of(layer)
    for error in (0.02, 0.2, 0.5):
        factors = METHODS[method](layer, evidence).cut(error, 1)
        if factors is not None:
            assert factors.error <= error
            measured = lost(module(samples), run(layer, factors, samples), 1 if layer.kernel else samples.dim() - 1)
            assert factors.error == pytest.approx(measured, abs=1e-4)


def test_without_samples_the_error_is_one_of_weights() -> None:
    torch.manual_seed(0)
    module = nn.Linear(19, 23)
    _, layer = only_layer(module, torch.randn(1, 19))
    factors = Svd(layer, Evidence((19,))).cut(0.3, 1)
    assert factors is not None
    product = (factors.stages[1].weight @ factors.stages[0].weight).detach()
    weight = module.weight.detach()
    expected = (weight - product).square().sum() / weight.square().sum()
    assert factors.error == pytest.approx(float(expected), rel=1e-4)
    assert factors.bias is layer.bias


def test_samples_choose_the_directions_that_matter() -> None:
    torch.manual_seed(0)
    module = nn.Linear(16, 16)
    samples = torch.randn(400, 16) * torch.linspace(0.01, 3, 16)
    graph, layer = only_layer(module, samples[:1])
    seen, blind = Svd(layer, collect(graph, [layer], [], Batches([samples])).of(layer)), Svd(layer, Evidence((16,)))
    assert lost(module(samples), run(layer, seen.at(4), samples), 1) < 0.7 * lost(
        module(samples), run(layer, blind.at(4), samples), 1
    )


@settings(max_examples=25, deadline=None)
@given(
    channels=st.tuples(st.integers(2, 9), st.integers(2, 9)), kernel=st.tuples(st.integers(2, 4), st.integers(2, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)), padding=st.tuples(st.integers(0, 2), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)), method=st.sampled_from(sorted(METHODS)),
)  # fmt: skip
def test_any_convolution(
    channels: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int],
    dilation: tuple[int, int], method: str,
) -> None:  # fmt: skip
    module = nn.Conv2d(*channels, kernel, stride=stride, padding=padding, dilation=dilation)
    x = torch.randn(1, channels[0], 9, 11)
    _, layer = only_layer(module, x)
    whole = METHODS[method](layer, Evidence(tuple(layer.weight.shape[1:])))
    factors = whole.at(*whole.full) if method == "tucker2" else whole.at(len(whole.spectrum.energies))
    torch.testing.assert_close(run(layer, factors, x), module(x), atol=1e-4, rtol=1e-4)
    small = whole.cut(0.4, 1)
    if small is not None:
        assert small.error <= 0.4
        assert run(layer, small, x).shape == module(x).shape


def test_few_samples_are_not_trusted() -> None:
    """Four samples of 32 numbers span four directions; the others are not taken for silent."""
    torch.manual_seed(0)
    module = nn.Linear(32, 32)
    samples = torch.randn(4, 32)
    graph, layer = only_layer(module, samples[:1])
    found = Svd(layer, collect(graph, [layer], [], Batches([samples])).of(layer)).cut(0.05, 1)
    assert found is None or found.ranks[0] > 16
