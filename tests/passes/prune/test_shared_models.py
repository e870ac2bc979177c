"""Every group of the trained models beside the checkout can be cut, alone and together."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from prunus.frontend import import_model
from prunus.passes.canonical import canonical
from prunus.passes.numbers import random_inputs
from prunus.passes.prune import trace
from tests.passes.prune.cuts import assert_every_group_can_be_cut

FILES: dict[str, dict[str, Any]] = {
    "fashion-resnet/model.onnx": {},
    "kws/commands.onnx": {},
    "kws/digits.onnx": {},
    "text-magika/model.onnx": {"input_shapes": {"bytes": (1, 2048)}},
    "vad/pulsevad_2.1k.onnx": {"input_shapes": {"log_mel": (1, 64, 21)}},
    "vad/silero_vad_16k_op15.onnx": {
        "input_shapes": {"input": (1, 576), "state": (2, 1, 128)}, "constant_inputs": {"sr": 16000},
    },
    "keras-fashion/model.keras": {},
    "keras-smartlock/model.keras": {},
}  # fmt: skip
MODULES: dict[str, tuple[tuple[int, ...], torch.Tensor]] = {
    "text-sentiment:TextCNN": ((997,), torch.ones(1, 40, dtype=torch.int64)),
    "face-mtcnn:PNet": ((), torch.zeros(1, 3, 12, 12)),
    "face-mtcnn:RNet": ((), torch.zeros(1, 3, 24, 24)),
    "efficientnet-lite0:EfficientNetLite0": ((), torch.zeros(1, 3, 64, 64)),
}


@pytest.mark.parametrize("name", FILES)
def test_file(name: str, shared: Path) -> None:
    graph = canonical(import_model(shared / name, **FILES[name]))
    assert_every_group_can_be_cut(trace(graph), random_inputs(graph))


@pytest.mark.parametrize("name", MODULES)
def test_module(name: str, shared: Path) -> None:
    folder, kind = name.split(":")
    spec = importlib.util.spec_from_file_location(folder, shared / folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    arguments, example = MODULES[name]
    torch.manual_seed(0)
    graph = canonical(import_model(getattr(code, kind)(*arguments).eval(), example_inputs=(example,)))
    assert_every_group_can_be_cut(trace(graph), random_inputs(graph))
