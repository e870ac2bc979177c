"""The trained examples reach the accuracy that their README states."""

import re

import numpy as np
import onnxruntime
import pytest
from examples.trained import FOLDER, TRAINED, Trained, pytorch_scores

import prunus

STATED = {
    name: (float(accuracy), int(count))
    for name, accuracy, count in re.findall(
        r"^\| (\w+) \| ([\d.]+) of (\d+) \|", (FOLDER / "README.md").read_text(), re.M
    )
}


def onnxruntime_scores(trained: Trained, inputs: list[np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(trained.path, providers=["CPUExecutionProvider"])
    return [session.run(None, {trained.input_name: x})[0] for x in inputs]


@pytest.mark.parametrize("trained", TRAINED, ids=lambda trained: trained.name)
def test_accuracy_as_stated(trained: Trained) -> None:
    samples = trained.samples()
    accuracy, count = STATED[trained.name]
    assert len(samples.inputs) == count
    assert round(samples.accuracy(onnxruntime_scores(trained, samples.inputs)), 4) == accuracy


@pytest.mark.parametrize("trained", TRAINED, ids=lambda trained: trained.name)
def test_compiled_decides_every_sample_as_onnxruntime(trained: Trained) -> None:
    samples = trained.samples()
    example = samples.inputs[0]
    artifact = prunus.compile(trained.path, target="native", example_inputs=(example,), name="net")
    ours = np.concatenate([artifact(x) for x in samples.inputs])
    theirs = np.concatenate(onnxruntime_scores(trained, samples.inputs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
    assert (ours.argmax(1) == theirs.argmax(1)).all()


def test_module_equals_onnx_file() -> None:
    samples = TRAINED[0].samples()
    module = np.concatenate(pytorch_scores(samples))
    file = np.concatenate(onnxruntime_scores(TRAINED[0], samples.inputs))
    np.testing.assert_allclose(module, file, rtol=0, atol=1e-5 * np.abs(file).max())


def test_size_in_the_repository() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 2_500_000
