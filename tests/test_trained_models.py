"""The trained models beside the checkout: every format here, every ARM target under its emulator."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prunus
from benchmarks.accuracy import original
from benchmarks.trained import Case, cases, tensors
from prunus.targets import load_target

NAMES = [
    "fashion-resnet, module", "fashion-resnet, ONNX", "kws commands, module", "kws commands, ONNX",
    "kws digits, module", "kws digits, ONNX", "pulsevad, ONNX", "silero, ONNX", "text-sentiment, module",
    "text-magika, ONNX", "mtcnn pnet, module", "mtcnn rnet, module", "keras-fashion, Keras",
    "keras-smartlock night, Keras", "efficientnet-lite0, module",
]  # fmt: skip
EXPORTED = ["fashion-resnet/model.pt2", "kws/commands.pt2", "kws/digits.pt2"]
# The largest network takes minutes to compile and seconds to emulate: once is enough.
ARM = [
    *((name, target) for target in ("rpi3", "rpi4", "rpi5", "rpi3-armhf") for name in NAMES if name != NAMES[-1]),
    (NAMES[-1], "rpi4"),
]


@pytest.fixture(scope="module")
def by_name(shared: Path) -> dict[str, Case]:
    return {case.name: case for case in cases(shared)}


def inputs_of(case: Case) -> list[tuple[np.ndarray, ...]]:
    """Return a few real inputs; the recurrent model takes random ones, with its state."""
    if len(case.example) == 1:
        return [(sample[None],) for sample in case.samples[:: max(1, len(case.samples) // 3)][:3]]
    random = np.random.default_rng(0)
    return [tuple(random.standard_normal(array.shape).astype(array.dtype) * 0.1 for array in case.example)]


def compiled(case: Case, target: str) -> prunus.Artifact:
    constants = case.constant_inputs or None
    examples = tensors(case.example)
    return prunus.compile(case.model, target=target, example_inputs=examples, constant_inputs=constants, name="net")


def as_list(result: Any) -> list[np.ndarray]:
    return list(result) if isinstance(result, tuple) else [result]


def largest_error(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(
        float(np.abs(one - other).max() / np.abs(other).max()) for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_outputs_of_the_original_runtime(name: str, by_name: dict[str, Case]) -> None:
    case = by_name[name]
    artifact, reference = compiled(case, "native"), original(case)
    for inputs in inputs_of(case):
        assert largest_error(as_list(artifact(*inputs)), list(reference(*inputs))) < 1e-4


@pytest.mark.parametrize("file", EXPORTED)
def test_exported_programs(file: str, shared: Path) -> None:
    module = torch.export.load(shared / file).module()
    artifact = prunus.compile(shared / file, name="net")
    shape = artifact.manifest.inputs[0].shape
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(artifact(x), module(x), rtol=0, atol=1e-4 * float(module(x).abs().max()))


@pytest.mark.parametrize(("name", "target"), ARM, ids=lambda value: value)
def test_arm_equals_native(name: str, target: str, by_name: dict[str, Case]) -> None:
    emulator = load_target(target).runner[0]
    if shutil.which(emulator) is None:
        pytest.skip(f"{emulator} is not installed")
    case = by_name[name]
    sets = inputs_of(case)[: 1 if "efficientnet" in name else 3]
    here = compiled(case, "native")
    for inputs, found in zip(sets, compiled(case, target).run_many(sets), strict=True):
        assert largest_error(as_list(found), as_list(here(*inputs))) < 1e-5
