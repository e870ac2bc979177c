"""Graphs as ONNX files, run by ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from prunus.compression import Prune
from prunus.errors import OutputError
from prunus.frontend import import_model
from prunus.passes import DEFAULT, run_passes
from prunus.passes.export_onnx import export_onnx
from prunus.passes.graph import Graph
from prunus.passes.numbers import run
from prunus.passes.prune import prune
from tests.networks import FAMILIES

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::UserWarning")


def pruned(name: str) -> tuple[Graph, tuple[torch.Tensor, ...]]:
    module, inputs = FAMILIES[name]()
    return prune(import_model(module, example_inputs=inputs), Prune(macs=0.7, importance="l1")), inputs


def assert_same_in_onnxruntime(graph: Graph, inputs: tuple[torch.Tensor, ...], folder: Path) -> None:
    session = onnxruntime.InferenceSession(export_onnx(graph, folder / "net.onnx"))
    names = [tensor.name for tensor in session.get_inputs()]
    found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    for one, other in zip(run(graph, inputs), found, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet-basic", "shufflenet-v2", "text-masked", "gru"])
def test_pruned_graph_runs_in_onnxruntime(name: str, tmp_path: Path) -> None:
    assert_same_in_onnxruntime(*pruned(name), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2.0, "mode": "nearest"},
        {"scale_factor": (2.3, 1.7), "mode": "nearest"},
        {"scale_factor": 2.0, "mode": "bilinear"},
        {"scale_factor": (2.3, 0.6), "mode": "bilinear"},
        {"scale_factor": 2.3, "mode": "bilinear", "recompute_scale_factor": True},
        {"size": (9, 4), "mode": "bilinear", "align_corners": True},
        {"size": (9, 4), "mode": "nearest"},
    ],
    ids=str,
)
def test_resizing(options: dict[str, Any], tmp_path: Path) -> None:
    class Resizing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(x, **options)

    inputs = (torch.randn(1, 3, 7, 5),)
    assert_same_in_onnxruntime(run_passes(import_model(Resizing(), example_inputs=inputs), DEFAULT), inputs, tmp_path)


@pytest.mark.parametrize("function", [
    torch.expm1, torch.sinh, torch.cosh, torch.trunc, torch.nn.functional.selu, torch.asinh, torch.erfc,
    lambda x: torch.nn.functional.celu(x, 0.7), lambda x: (x > 0) ^ (x < 0.5),
    lambda x: torch.nn.functional.rms_norm(x, (7, 5), 1 + torch.ones(7, 5)), lambda x: x.int() // 2,
])  # fmt: skip
def test_operators_in_other_words(function: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path) -> None:
    class Applied(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    inputs = (3 * torch.randn(1, 3, 7, 5),)
    assert_same_in_onnxruntime(run_passes(import_model(Applied(), example_inputs=inputs), DEFAULT), inputs, tmp_path)


def test_operator_that_onnx_lacks(tmp_path: Path) -> None:
    graph, _ = pruned("gru")
    for one_pass in DEFAULT:
        graph = one_pass(graph)
    with pytest.raises(OutputError, match="gru_layer"):
        export_onnx(graph, tmp_path / "net.onnx")
