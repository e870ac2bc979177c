"""Keras models through everything that comes behind the frontend."""

import keras
import numpy as np
import pytest
import torch

import prunus
from prunus.passes import DEFAULT, run_passes
from prunus.passes.canonical import canonical
from prunus.passes.graph import aten, calls
from prunus.passes.numbers import random_inputs
from prunus.passes.prune import trace
from tests.frontend.keras.harness import noise, randomize
from tests.passes.prune.cuts import assert_every_group_can_be_cut

layers = keras.layers


@pytest.fixture(scope="module")
def picture():
    """A network with residuals, squeeze and excite, and a flattened picture ahead of its dense layers."""
    inputs = keras.Input((12, 10, 3), name="picture")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(inputs)))
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scale = layers.Conv2D(8, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1, activation="relu")(scale))
    x = layers.Add()([x, layers.SeparableConv2D(8, 3, padding="same")(layers.Multiply()([x, scale]))])
    x = layers.Dense(16, activation="relu")(layers.Flatten()(layers.MaxPooling2D()(x)))
    model = keras.Model(inputs, layers.Dense(5)(layers.Dropout(0.2)(x)), name="lock")
    randomize(model)
    return model


@pytest.fixture(scope="module")
def words():
    """Attention and recurrence over words."""
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(20, 8)(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GRU(5)(x)))
    randomize(model)
    return model


def test_no_permutation_is_left_but_that_of_the_picture(picture) -> None:
    graph = run_passes(prunus.import_model(picture), DEFAULT)
    assert len(list(calls(graph, aten.permute.default))) == 1


@pytest.mark.parametrize("name", ["picture", "words"])
def test_every_group_can_be_cut(name: str, request: pytest.FixtureRequest) -> None:
    graph = canonical(prunus.import_model(request.getfixturevalue(name)))
    assert_every_group_can_be_cut(trace(graph), random_inputs(graph))


def test_words(words) -> None:
    artifact = prunus.compile(words, name="words")
    x = np.random.default_rng(0).integers(0, 20, (1, 7)).astype(np.int32)
    np.testing.assert_allclose(artifact(x), keras.ops.convert_to_numpy(words(x)), atol=1e-5)


def test_compression(picture) -> None:
    samples = [noise(4, 12, 10, 3, seed=seed) for seed in range(3)]
    artifact = prunus.compile(
        picture, prune=prunus.Prune(macs=0.7), quantize=prunus.Quantize(calibration=samples, where="everywhere"),
        fine_tune="distill",
    )  # fmt: skip
    assert artifact.manifest.name == "lock"
    assert artifact.manifest.inputs[0].shape == (1, 12, 10, 3)
    assert [step.name for step in artifact.manifest.compression]
    x = torch.from_numpy(samples[0][:1])
    torch.testing.assert_close(artifact(x), artifact.module(x)[0], rtol=0, atol=0)
