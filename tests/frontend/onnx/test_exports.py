"""Networks that PyTorch has exported, with both of its exporters, against PyTorch."""

import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from prunus.frontend.onnx import import_onnx
from prunus.passes.check import check
from prunus.passes.graph import calls
from tests.comparison import assert_close
from tests.networks import FAMILIES

OLDER_OPSETS = (11, 14)
DYNAMO_FAMILIES = (
    "mobilenet-v3",
    "shufflenet-v2",
    "unet",
    "vit",
    "swin",
    "text-masked",
    "gru-bidirectional",
    "conv-tasnet",
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Exporters write pages of notes about their own future."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def _script_export(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], opset: int) -> bytes:
    buffer = io.BytesIO()
    export: Any = torch.onnx.export  # its annotations leave out buffers
    export(
        module, inputs, buffer, dynamo=False, opset_version=opset, input_names=["x"], dynamic_axes={"x": {0: "batch"}},
        do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    return buffer.getvalue()


@pytest.mark.parametrize("name", FAMILIES)
def test_script_export_equals_pytorch(name: str) -> None:
    module, inputs = FAMILIES[name]()
    graph = import_onnx(_script_export(module, inputs, 17), example_inputs=inputs)
    check(graph)
    assert_close(module, inputs, graph(*inputs))


@pytest.mark.parametrize("opset", OLDER_OPSETS)
@pytest.mark.parametrize("name", ["mobilenet-v3", "shufflenet-v2", "lstm-bidirectional"])
def test_older_versions_equal_pytorch(name: str, opset: int) -> None:
    module, inputs = FAMILIES[name]()
    graph = import_onnx(_script_export(module, inputs, opset), example_inputs=inputs)
    assert_close(module, inputs, graph(*inputs))


@pytest.mark.parametrize("name", DYNAMO_FAMILIES)
def test_dynamo_export_equals_pytorch(name: str) -> None:
    pytest.importorskip("onnxscript", reason="the newer exporter needs onnxscript")
    module, inputs = FAMILIES[name]()
    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    assert program is not None
    graph = import_onnx(program.model_proto)
    check(graph)
    assert_close(module, inputs, graph(*inputs))


@pytest.mark.parametrize("name", ["resnet-basic", "mobilenet-v2", "squeezenet", "gru", "autoencoder"])
def test_all_parameters_stay_trainable_under_their_names(name: str) -> None:
    module, inputs = FAMILIES[name]()
    graph = import_onnx(_script_export(module, inputs, 17), example_inputs=inputs)
    expected = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    found = {name: tuple(parameter.shape) for name, parameter in graph.named_parameters()}
    assert sorted(found.values()) == sorted(expected.values())
    if name != "gru":  # ONNX keeps no names of recurrent weights
        assert found == expected


def test_shapes_leave_no_trace() -> None:
    """What an exporter computes from shapes is folded away: a transformer keeps its arithmetic only."""
    module, inputs = FAMILIES["text"]()
    graph = import_onnx(_script_export(module, inputs, 17), example_inputs=inputs)
    described = [node.meta["val"] for node in calls(graph) if isinstance(node.meta["val"], torch.Tensor)]
    assert {value.dtype for value in described} == {torch.float32}
