"""Quantised networks give the same bytes in PyTorch, here, and on every ARM core, whatever the inputs are."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from examples.trained import COMMANDS, FASHION, Trained

import prunus
from prunus.frontend.importer import import_model
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.graph import calls
from prunus.passes.quantize import quantize
from prunus.targets import load_target
from tests.backends.kernels.execution import has_processor

NETWORKS = {"fashion": FASHION, "commands": COMMANDS}
TARGETS = ["native", "x86-64-v3", "rpi3", "rpi4", "rpi5", "rpi3-armhf"]
# Beyond every grid: quantised inputs are 127 or -128.
LARGE = 1e9


@lru_cache
def quantized(name: str, target: str, bits: int = 8) -> tuple[Graph, torch.Tensor]:
    """Return a network of integers only, with weights of `bits` bits that suit `target`, and a few samples."""
    trained: Trained = NETWORKS[name]
    samples = torch.from_numpy(np.concatenate(trained.samples().inputs[:40]))
    graph = run_passes(import_model(trained.path, example_inputs=(samples[:1],)), DEFAULT)
    config = prunus.Quantize(calibration=[samples], where="everywhere", bits=bits)
    return quantize(graph, config, target=target), samples


def inputs(samples: torch.Tensor) -> list[torch.Tensor]:
    """Return real samples, noise, and inputs that saturate everywhere."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(samples[:1].shape, generator=generator)
    return [
        *samples[:3].split(1), noise, 30 * noise, LARGE * noise.sign(), torch.full_like(noise, LARGE),
        torch.full_like(noise, -LARGE), torch.zeros_like(noise),
    ]  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_computes_in_integers(name: str) -> None:
    graph, _ = quantized(name, "native")
    layers = [str(node.target) for node in calls(graph) if "conv" in str(node.target) or "linear" in str(node.target)]
    assert layers
    assert all(layer.startswith("prunus.q") for layer in layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_four_bits_take_half_a_byte(name: str) -> None:
    """Weights of layers that mix channels; those of depthwise layers, biases and scales take what they did."""
    sizes = {}
    for bits in (8, 4):
        graph, samples = quantized(name, "native", bits)
        artifact = prunus.compile(graph, target="native", example_inputs=(samples[:1],), name="net")
        sizes[bits] = artifact.manifest.constants_bytes
    assert sizes[4] < 0.75 * sizes[8]


@pytest.mark.parametrize(("weights_for", "bits"), [("rpi4", 8), ("x86-64-v3", 8), ("rpi4", 4)])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_bytes(name: str, target: str, weights_for: str, bits: int) -> None:
    if not has_processor(load_target(target)):
        pytest.skip(f"nothing here runs libraries for {target}")
    graph, samples = quantized(name, weights_for, bits)
    artifact = prunus.compile(graph, target=target, example_inputs=(samples[:1],), name="net")
    given = inputs(samples)
    for x, found in zip(given, artifact.run_many([(x,) for x in given]), strict=True):
        with torch.no_grad():
            (expected,) = graph(x)
        assert torch.equal(torch.as_tensor(found), expected)
