"""Static quantisation as users meet it: bad data, odd layers, the report, and real models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.accuracy import original
from benchmarks.quantization import accuracy, answers, calibration_samples, of_onnxruntime
from benchmarks.trained import Case, cases, tensors
from prunus.compression import Quantize
from prunus.errors import InputError, QuantizeError
from prunus.frontend import import_model
from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.graph import aten, calls, value
from prunus.passes.numbers import largest_error
from prunus.passes.quantize import quantize
from tests.passes.quantize.networks import BY_NAME, everywhere, samples


def graph_of(module: nn.Module, x: torch.Tensor) -> Graph:
    return run_passes(import_torch(module.eval(), (x,)), DEFAULT, (x,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"observer": "quantil"}, "quantile"),
        ({"training": "qat"}, "lsq"),
        ({"bits": 9}, "from 2 to 8"),
        ({"keep": "head.*"}, r"keep=\['head"),
    ],
)
def test_requests_are_checked(given: dict[str, object], message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        Quantize(calibration=[], **given)  # type: ignore[arg-type]


def test_no_samples(folded) -> None:
    with pytest.raises(InputError, match="no calibration samples"):
        quantize(folded(BY_NAME["chain"]), Quantize(calibration=[]))


@pytest.mark.parametrize("wrong", [torch.randn(8, 3, 9, 8), torch.randn(8, 3, 9, 7).double(), torch.randn(1, 3, 9, 7)])
def test_samples_that_do_not_fit(wrong: torch.Tensor, folded) -> None:
    with pytest.raises(InputError, match="do not fit"):
        quantize(folded(BY_NAME["chain"]), Quantize(calibration=[wrong], where="everywhere"))


def test_nan_is_named(folded) -> None:
    x = samples(BY_NAME["chain"])
    x[3, 0, 0, 0] = torch.nan
    with pytest.raises(QuantizeError, match=r"node .* computes NaN on the calibration data"):
        quantize(folded(BY_NAME["chain"]), Quantize(calibration=[x], where="everywhere"))


def test_constant_activations_work() -> None:
    """A layer that never fires has a grid all the same."""
    first = nn.Conv2d(2, 3, 1)
    nn.init.zeros_(first.weight)
    nn.init.constant_(first.bias, -1)  # type: ignore[arg-type]
    module = nn.Sequential(first, nn.ReLU(), nn.Conv2d(3, 2, 1))
    x = torch.randn(4, 2, 3, 3)
    graph = graph_of(module, x)
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere"))
    with torch.no_grad():
        assert torch.allclose(graph(x)[0], whole(x)[0], atol=1e-3)


class Pooled(nn.Module):
    """Pools what may have its channels last in memory; with `turned` because the network itself says so."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.first, self.last = nn.Conv2d(3, 15 if turned else 13, 3), nn.Conv2d(13, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        if self.turned:
            y = y.permute(0, 3, 2, 1)[:, :, :, 1:]
        return self.last(torch.max_pool2d(y, 2)).mean((2, 3))


@pytest.mark.parametrize("turned", [False, True])
def test_pooling_with_channels_last(turned: bool) -> None:
    """PyTorch itself pools such integers only up to 127 elements."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 29, 15).to(memory_format=torch.channels_last)
    graph = graph_of(Pooled(turned), x)
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere"))
    (pool,) = calls(whole, aten.max_pool2d.default)
    assert value(pool).dtype == (torch.float32 if turned else torch.int8)
    with torch.no_grad():
        assert largest_error(graph(x)[0], whole(x)[0]) < 0.03
        assert torch.equal(whole(x)[0], whole(x.contiguous())[0])


class PermutedWeights(nn.Module):
    """Keeps the weights of a convolution as other frameworks do: height, width, inputs, outputs."""

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.randn(3, 3, 5, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.kernel.permute(3, 2, 0, 1))


def test_weights_that_are_permuted() -> None:
    x = torch.randn(4, 5, 9, 8)
    graph = graph_of(PermutedWeights(), x)
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere"))
    with torch.no_grad():
        assert largest_error(graph(x)[0], whole(x)[0]) < 0.03


def test_no_rows_give_no_results() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1))
    x = torch.randn(4, 2, 3, 3)
    whole = quantize(graph_of(module, x), Quantize(calibration=[x], where="everywhere"))
    assert torch.ops.prunus.qmean.default in {node.target for node in calls(whole)}
    (result,) = whole(x[:0])
    assert result.shape == (0, 2, 1, 1)


def test_a_large_bias_beside_tiny_weights_fits_int32() -> None:
    first = nn.Linear(4, 3)
    with torch.no_grad():
        first.weight[1] = 1e-12
        first.bias.fill_(5.0)
    module = nn.Sequential(first, nn.ReLU(), nn.Linear(3, 2))
    x = torch.randn(16, 4)
    graph = graph_of(module, x)
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere"))
    with torch.no_grad():
        assert torch.allclose(graph(x)[0], whole(x)[0], atol=0.1)


def test_a_layer_too_deep_for_int32_stays_in_float32() -> None:
    torch.manual_seed(0)
    depth = 2**31 // (255 * 127) + 9
    first = nn.Linear(depth, 1, bias=False)
    nn.init.ones_(first.weight)
    module = nn.Sequential(first, nn.ReLU(), nn.Linear(1, 2))
    x = torch.rand(2, depth)
    whole = quantize(graph_of(module, x), Quantize(calibration=[x], where="everywhere"), target="rpi4")
    first, second = whole.meta["quantization"]
    assert first.precision == "float32"
    assert "int32 does not hold" in first.reason
    assert second.precision == "int8"
    assert list(calls(whole, torch.ops.aten.linear))


def test_the_report(folded) -> None:
    network = BY_NAME["chain"]
    whole = quantize(folded(network), everywhere(network, keep=["conv2d_1"]), target="rpi4")
    rows = whole.meta["quantization"]
    assert [(row.layer, row.precision, row.weight_bits) for row in rows] == [
        ("conv2d", "int8", 8), ("conv2d_1", "float32", 32), ("conv2d_2", "int8", 8),
    ]  # fmt: skip
    assert all(25 < row.sqnr_db < 60 for row in rows)
    assert str(rows[1]).endswith("keep='conv2d_1'")


def test_bias_correction_takes_the_mean_error_back() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.ReLU(), nn.Conv2d(6, 5, 1))
    x = torch.rand(64, 6, 8, 8) + 1
    graph = graph_of(module, x)
    means = []
    for correct in (False, True):
        whole = quantize(
            graph, Quantize(calibration=[x], where="everywhere", bits=3, correct_bias=correct), target="rpi4"
        )
        with torch.no_grad():
            means.append(float((whole(x)[0] - graph(x)[0]).mean((0, 2, 3)).abs().max()))
    assert means[1] < 0.1 * means[0]


@pytest.mark.parametrize("observer", ["min_max", "moving_average", "quantile", "lp", "mse", "entropy"])
def test_every_observer(observer: str, folded) -> None:
    network = BY_NAME["gate"]
    graph, x = folded(network), samples(network)
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere", observer=observer))
    with torch.no_grad():
        expected, found = graph(x[:2])[0], whole(x[:2])[0]
    assert float((expected - found).square().mean()) < 0.05 * float(expected.square().mean())


@pytest.fixture(scope="module")
def trained(shared: Path) -> dict[str, Case]:
    return {case.name: case for case in cases(shared)}


@pytest.mark.parametrize(
    ("name", "count"),
    [("fashion-resnet, ONNX", 600), ("kws commands, ONNX", 600), ("kws digits, ONNX", 760), ("pulsevad, ONNX", 300)],
)
def test_real_models_beside_onnxruntime(name: str, count: int, trained: dict[str, Case], shared: Path) -> None:
    """Part of the test sets, where one sample is up to 0.3 points; `benchmarks/quantization.py` has all of it."""
    case = trained[name]
    part = Case(case.name, case.model, case.example, case.samples[:count], None)
    assert case.labels is not None
    labels = case.labels[:count]
    graph = run_passes(import_model(case.model, example_inputs=tensors(case.example)), DEFAULT, tensors(case.example))
    calibration = calibration_samples(case, shared, 200)
    whole = quantize(graph, Quantize(calibration=[calibration], where="everywhere"))
    theirs = of_onnxruntime(part, calibration)
    assert theirs is not None
    found, floats = (accuracy(case.decide(answers(one, part.samples), part.samples), labels) for one in (whole, graph))
    assert found >= floats - 0.01
    assert found >= accuracy(case.decide(theirs, part.samples), labels) - 0.01


@pytest.mark.parametrize(
    ("file", "name", "count"),
    [
        ("fashion-resnet/model_qdq.onnx", "fashion-resnet, ONNX", 300),
        ("fashion-resnet/model_qoperator.onnx", "fashion-resnet, ONNX", 300),
        ("vad/pulsevad_2.1k_int8.onnx", "pulsevad, ONNX", 300),
    ],
)
def test_models_that_come_quantised(file: str, name: str, count: int, trained: dict[str, Case], shared: Path) -> None:
    """No float operator is left between the ends, and the outputs are ONNX Runtime's, but for a rare step."""
    case = trained[name]
    example = tensors(case.example)
    graph = run_passes(import_model(shared / file, example_inputs=example), DEFAULT, example)
    theirs = original(replace(case, model=shared / file))
    expected = np.concatenate([theirs(sample[None])[0] for sample in case.samples[:count]])
    run = answers(graph, case.samples[:count])
    found = np.concatenate([run()[0] for _ in range(count)])
    assert np.mean(found == expected) > 0.99
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    between = [node for node in calls(graph) if node.meta["val"].dtype == torch.float32]
    assert [str(node.target) for node in between] == ["prunus.dequantize.default"]
