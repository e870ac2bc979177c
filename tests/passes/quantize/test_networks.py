"""Whole small networks: which operators they become, and their numbers against plain fake quantisation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from prunus.compression import Quantize
from prunus.passes import DEFAULT, check, run_passes
from prunus.passes.fake_quantization import FAKE
from prunus.passes.graph import Graph, calls, copy_graph
from prunus.passes.quantize import annotate, calibrate, fold_qdq, prepare, quantize, write_qdq
from prunus.passes.recovery import Batches
from prunus.targets import load_target
from tests.passes.quantize.networks import BY_NAME, NETWORKS, Network, everywhere, samples


def sqnr_db(expected: Tensor, found: Tensor) -> float:
    return float(10 * torch.log10(expected.square().sum() / (expected - found).square().sum().clamp_min(1e-20)))


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_operators_and_signal(network: Network, folded, operators) -> None:
    graph, x = folded(network), samples(network)
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere"), target="rpi4")
    check(whole)
    assert tuple(operators(whole)) == network.operators
    with torch.no_grad():
        expected, found = graph(x[: network.shape[0]])[0], whole(x[: network.shape[0]])[0]
    assert sqnr_db(expected, found) > 30
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_default_passes_leave_it(network: Network, folded, operators) -> None:
    example = samples(network)[: network.shape[0]]
    whole = quantize(folded(network), everywhere(network), target="rpi4")
    again = run_passes(whole, DEFAULT, (example,))
    assert operators(again) == operators(whole)


class Simulated:
    """Fake quantisation written down once more: plain float64 arithmetic on a graph's fake nodes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = copy_graph(graph).double()

    def __call__(self, x: Tensor) -> Tensor:
        class Run(torch.fx.Interpreter):
            def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
                if target is FAKE:
                    x, scale, zero, _, low, high, _ = args
                    scale, zero = (v.reshape(-1, *[1] * (x.dim() - 1)) for v in (scale, zero))
                    return ((torch.round(x / scale) + zero).clamp(low, high) - zero) * scale
                kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
                return super().call_function(target, args, kwargs)

        with torch.no_grad():
            result: Tensor = Run(self.graph).run(x.double())[0]
        return result


@pytest.mark.parametrize(
    "name", ["chain", "one dimension", "residual", "difference", "gate", "branches", "pools", "padded"]
)
def test_numbers_are_those_of_fake_quantisation(name: str, folded) -> None:
    """The last layer's result is a real number: one step of its input, times its weights, is all that may differ."""
    network = BY_NAME[name]
    graph, x = folded(network), samples(network)
    plan = annotate(graph, load_target("rpi4"))
    prepared = prepare(graph, plan, calibrate(graph, plan, Batches([x]), "min_max"))
    simulated = Simulated(prepared)
    whole = fold_qdq(write_qdq(prepared))
    batch = x[: network.shape[0]]
    expected = simulated(batch)
    with torch.no_grad():
        found = whole(batch)[0].double()
    equal = (expected - found).abs() <= 1e-4 * expected.abs().max()
    # A tie that float32 rounds the other way moves all results that see it.
    assert float(equal.double().mean()) >= (0.5 if name == "pools" else 0.9)
    assert sqnr_db(expected, found) > 40


def test_a_limit_is_a_bound(folded) -> None:
    whole = quantize(
        folded(BY_NAME["chain"]),
        everywhere(
            BY_NAME["chain"],
        ),
        target="rpi4",
    )
    first, second = calls(whole, torch.ops.prunus.qconv)
    assert first.args[-3:] == (-128, -128, 127)  # ReLU: the zero point is the least number
    assert second.args[-3:-1] == (-128, -128)


def test_padding_of_unequal_sides_is_the_convolutions_own(folded) -> None:
    network = BY_NAME["padded"]
    whole = quantize(folded(network), everywhere(network), target="rpi4")
    (last,) = calls(whole, torch.ops.prunus.qconv_dequant)
    assert last.args[5] == [3, 2, 1, 2]  # two on top and one below, one on the right, and one all around
