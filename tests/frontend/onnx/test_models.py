"""Trained models against ONNX Runtime and the outputs that come with them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from prunus.frontend.onnx import import_onnx
from prunus.passes.check import check
from prunus.passes.graph import Graph, aten, calls

TOLERANCE = 1e-4
# Two of Magika's files are further off: it computes a variance as E[x^2] - E[x]^2. In float64 the same graph gives
# scores that are 3.5e-4 from ONNX Runtime's and 4e-5 from PyTorch's.
MAGIKA_TOLERANCE = 5e-4


def _run(graph: Graph, *arrays: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    with torch.no_grad():
        return [result.numpy() for result in graph(*[torch.from_numpy(array) for array in arrays])]


def _assert_close(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float = TOLERANCE) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_fashion_resnet(shared: Path) -> None:
    folder = shared / "fashion-resnet"
    graph = import_onnx(folder / "model.onnx")
    check(graph)
    pictures = np.load(folder / "data.npz")["x_test"][:16].astype("float32")[:, None, None]
    expected = np.load(folder / "reference.npz")["model"][:16]
    for picture, logits in zip((pictures / 255 - 0.2860) / 0.3530, expected, strict=True):
        _assert_close(_run(graph, picture.astype("float32"))[0], logits[None])
    assert graph.meta["input_names"] == ["image"]
    assert graph.meta["output_names"] == ["logits"]
    assert "blocks.1.skip.0.weight" in dict(graph.named_parameters())


@pytest.mark.parametrize("name", ["commands", "digits"])
def test_keyword_spotting(shared: Path, name: str) -> None:
    graph = import_onnx(shared / "kws" / f"{name}.onnx")
    check(graph)
    data = np.load(shared / "kws" / f"{name}.npz")
    clips = data["x_test"][:16].astype("float32")[:, None, None] * data["scale"].astype("float32")
    for clip, logits in zip(clips, np.load(shared / "kws" / f"{name}_reference.npz")["logits"], strict=False):
        _assert_close(_run(graph, clip)[0], logits[None])


def test_pulsevad(shared: Path) -> None:
    graph = import_onnx(shared / "vad" / "pulsevad_2.1k.onnx", input_shapes={"log_mel": (50, 64, 21)})
    check(graph)
    reference = np.load(shared / "vad" / "reference.npz")
    session = onnxruntime.InferenceSession(shared / "vad" / "pulsevad_2.1k.onnx")
    log_mel = reference["log_mel"].reshape(50, 64, 21)
    _assert_close(_run(graph, log_mel)[0], session.run(None, {"log_mel": log_mel})[0])


@pytest.mark.parametrize("fixed", [True, False])
def test_silero_folds_its_branches(shared: Path, fixed: bool) -> None:
    """Twenty frames with the state carried on; the sampling rate is an input or fixed."""
    path = shared / "vad" / "silero_vad_16k_op15.onnx"
    graph = import_onnx(
        path, input_shapes={"input": (1, 576)}, constant_inputs={"sr": 16000} if fixed else None
    )  # fmt: skip
    check(graph)
    assert graph.meta["input_names"] == (["input", "state"] if fixed else ["input", "state", "sr"])
    assert len(list(calls(graph, aten.lstm))) == 1
    session = onnxruntime.InferenceSession(path)
    audio = np.load(shared / "vad" / "clips.npz")["audio"][0].astype("float32") / 32768
    rate = np.array(16000)
    state = expected_state = np.zeros((2, 1, 128), "float32")
    for start in range(0, 20 * 512, 512):
        frame = audio[None, start : start + 576]
        speech, state = _run(graph, frame, state, *([] if fixed else [rate]))
        feeds = {"input": frame, "state": expected_state, "sr": rate}
        expected_speech, expected_state = session.run(None, feeds)
        _assert_close(speech, expected_speech)
        _assert_close(state, expected_state)


def test_magika(shared: Path) -> None:
    folder = shared / "text-magika"
    graph = import_onnx(folder / "model.onnx", example_inputs=[torch.zeros(1, 2048, dtype=torch.int32)])
    check(graph)
    files = np.load(folder / "data.npz")["bytes"][::8].astype("int32")
    for file, scores in zip(files, np.load(folder / "reference.npz")["scores"], strict=True):
        _assert_close(_run(graph, file[None])[0], scores[None], MAGIKA_TOLERANCE)


def test_weights_can_be_trained(shared: Path) -> None:
    graph = import_onnx(shared / "kws" / "commands.onnx")
    optimizer = torch.optim.SGD(graph.parameters(), lr=0.05)
    clip, label = torch.randn(1, 1, 49, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([3])
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(graph(clip)[0], label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
