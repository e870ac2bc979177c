"""The compared engines compute what PyTorch computes, and a wrong one is refused."""

import numpy as np
import pytest
import torch

import prunus
from benchmarks.compare import check
from benchmarks.engines import OnnxRuntime, Prunus, to_onnx
from tests.networks import settle
from tests.networks.autoencoder import autoencoder
from tests.networks.families import numbers


@pytest.fixture(scope="module")
def network() -> tuple[torch.nn.Module, torch.Tensor, np.ndarray]:
    module, x = settle(autoencoder(features=61, width=37, code=3)), numbers(1, 61)
    with torch.no_grad():
        return module, x, module(x).numpy()


def test_onnxruntime(network: tuple[torch.nn.Module, torch.Tensor, np.ndarray]) -> None:
    module, x, expected = network
    check(OnnxRuntime(to_onnx(module, x), x.numpy(), threads=1), expected)


def test_prunus(network: tuple[torch.nn.Module, torch.Tensor, np.ndarray]) -> None:
    module, x, expected = network
    engine = Prunus(prunus.compile(module, target="native", example_inputs=(x,), name="net"), x.numpy(), threads=1)
    check(engine, expected)
    engine.close()


def test_wrong_output_is_refused(network: tuple[torch.nn.Module, torch.Tensor, np.ndarray]) -> None:
    module, x, expected = network
    engine = OnnxRuntime(to_onnx(module, x), x.numpy(), threads=1)
    with pytest.raises(ValueError, match="ONNX Runtime is off by"):
        check(engine, expected + 1e-3 * np.abs(expected).max())
