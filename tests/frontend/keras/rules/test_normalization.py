"""Norms over any axis, with and without weights."""

import keras
import pytest

from tests.frontend.keras.harness import check, model_of, noise

layers = keras.layers


@pytest.mark.parametrize("shape", [(3, 5), (2, 7, 5), (2, 6, 7, 5), (1, 3, 4, 5, 6)], ids=str)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"axis": 1}], ids=str)
def test_batch(shape, options) -> None:
    x = noise(*shape)
    check(model_of(layers.BatchNormalization(**options), x), x)


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": [1, 2]}, {"axis": [2, 3]}, {"scale": False}], ids=str)
def test_layer(options) -> None:
    x = noise(2, 6, 7, 5)
    check(model_of(layers.LayerNormalization(**options), x), x)


def test_root_mean_square() -> None:
    x = noise(2, 6, 5)
    check(model_of(layers.RMSNormalization(), x), x)
    check(model_of(lambda x: keras.ops.rms_normalization(x, axis=1), x), x)


@pytest.mark.parametrize("groups", [1, 2, 6, -1])
def test_group(groups: int) -> None:
    x = noise(2, 5, 4, 6)
    check(model_of(layers.GroupNormalization(groups), x), x)


def test_unit_and_spectral() -> None:
    x = noise(2, 6, 5)
    check(model_of(layers.UnitNormalization(), x), x)
    check(model_of(layers.UnitNormalization(axis=1), x), x)
    check(model_of(layers.SpectralNormalization(layers.Dense(4)), x), x)


def test_operations() -> None:
    x, ops = noise(2, 6, 5), keras.ops
    mean, variance, offset, scale = noise(5), noise(5) ** 2, noise(5, seed=1), noise(5, seed=2)
    check(model_of(lambda x: ops.batch_normalization(x, mean, variance, -1, offset, scale), x), x)
    check(model_of(lambda x: ops.layer_normalization(x, scale, offset), x), x)
    check(model_of(lambda x: ops.rms_normalization(x, scale), x), x)
    check(model_of(lambda x: ops.normalize(x, order=1), x), x)
    check(model_of(lambda x: ops.moments(x, [1]), x), x)
    check(model_of(lambda x: ops.moments(x, [0, 2], keepdims=True), x), x)
