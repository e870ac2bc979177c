"""Trained models beside the checkout, with what Keras on TensorFlow has computed of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.trained import channels_last, enlarged
from prunus.frontend.keras import import_keras


@pytest.mark.parametrize("file", ["model.keras", "model.h5"])
def test_fashion(file: str, shared: Path) -> None:
    graph = import_keras(shared / "keras-fashion" / file, input_shapes={"image": (256, 28, 28, 1)})
    samples = channels_last(np.load(shared / "fashion-resnet/data.npz")["x_test"][:256])
    with torch.no_grad():
        (scores,) = graph(torch.from_numpy(samples))
    expected = np.load(shared / "keras-fashion/reference.npz")["scores"]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("part", "pixels"), [("day", "x_test"), ("night", "night_test")])
def test_smart_lock(part: str, pixels: str, shared: Path) -> None:
    graph = import_keras(shared / "keras-smartlock/model.keras", input_shapes={"input": (67, 96, 96, 3)})
    samples = enlarged(np.load(shared / "keras-smartlock/data.npz")[pixels])
    with torch.no_grad():
        (scores,) = graph(torch.from_numpy(samples))
    expected = np.load(shared / "keras-smartlock/reference.npz")[part]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)
