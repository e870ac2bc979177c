"""Layers on pictures."""

import keras
import numpy as np
import pytest

from prunus.errors import ImportModelError
from prunus.frontend.keras import import_keras
from tests.frontend.keras.harness import check, model_of, noise, places

layers = keras.layers


@pytest.mark.parametrize(
    "layer",
    [
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Rescaling([0.1, 0.2, 0.3], offset=[1.0, 0.0, -1.0]),
        layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
        layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], invert=True),
        layers.Resizing(7, 9),
        layers.Resizing(7, 9, interpolation="nearest"),
        layers.Resizing(18, 16, interpolation="nearest"),
        layers.CenterCrop(5, 4),
        layers.UpSampling2D(2),
        layers.UpSampling2D((3, 2), interpolation="bilinear"),
        layers.ZeroPadding2D(((1, 2), (0, 3))),
        layers.Cropping2D(((1, 2), (0, 3))),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomContrast(0.1),
        layers.GaussianNoise(0.1),
        layers.Dropout(0.5),
        layers.SpatialDropout2D(0.5),
    ],
    ids=lambda layer: layer.name,
)
def test_layers(layer) -> None:
    x = noise(2, 9, 8, 3)
    check(model_of(layer, x), x)


def test_pixels() -> None:
    x = places(256, 2, 9, 8, 3).astype(np.uint8)
    check(model_of(lambda x: layers.Rescaling(1 / 255)(x), x), x)


def test_sequences_and_volumes() -> None:
    x, volume = noise(2, 9, 3), noise(1, 4, 5, 6, 2)
    for layer in (layers.UpSampling1D(2), layers.ZeroPadding1D(2), layers.Cropping1D(2)):
        check(model_of(layer, x), x)
    for layer in (layers.UpSampling3D(2), layers.ZeroPadding3D(2), layers.Cropping3D(1)):
        check(model_of(layer, volume), volume)


def test_operations() -> None:
    x, ops = noise(2, 6, 8, 3), keras.ops
    check(model_of(lambda x: ops.image.resize(x, (12, 5)), x), x)
    check(model_of(ops.image.rgb_to_grayscale, x), x)


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (layers.Resizing(4, 4, interpolation="bicubic"), "interpolation 'bicubic'"),
        (layers.Resizing(4, 4, antialias=True), "antialiasing"),
        (layers.Resizing(4, 4, crop_to_aspect_ratio=True), "ratio of the sides"),
        (layers.CenterCrop(20, 20), "a picture of 9 is cropped to 20"),
    ],
)
def test_refused(layer, found: str) -> None:
    with pytest.raises(ImportModelError, match=found):
        import_keras(model_of(layer, noise(1, 9, 8, 3)))
