"""Convolutions in both layouts, with paddings of odd size."""

import keras
import pytest

from tests.frontend.keras.harness import check, model_of, noise

layers = keras.layers
SHAPES = {1: (2, 9, 4), 2: (2, 9, 8, 4), 3: (1, 5, 6, 7, 4)}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": 2, "strides": 2, "use_bias": False},
        {"kernel_size": 3, "dilation_rate": 2, "activation": "relu"},
        {"kernel_size": 3, "groups": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv(rank: int, options, padding: str) -> None:
    x = noise(*SHAPES[rank])
    check(model_of(getattr(layers, f"Conv{rank}D")(6, padding=padding, **options), x), x, tolerance=1e-4)


def test_causal() -> None:
    x = noise(2, 9, 4)
    check(model_of(layers.Conv1D(6, 3, dilation_rate=2, padding="causal"), x), x)


def test_channels_first() -> None:
    x = noise(2, 4, 9, 8)
    check(model_of(layers.Conv2D(6, 3, data_format="channels_first"), x), x)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
def test_depthwise(padding: str, strides: int) -> None:
    for rank in (1, 2):
        x = noise(*SHAPES[rank])
        layer = getattr(layers, f"DepthwiseConv{rank}D")(3, strides=strides, padding=padding, depth_multiplier=2)
        check(model_of(layer, x), x)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("rank", [1, 2])
def test_separable(padding: str, rank: int) -> None:
    x = noise(*SHAPES[rank])
    layer = getattr(layers, f"SeparableConv{rank}D")(5, 3, padding=padding, depth_multiplier=2, activation="relu")
    check(model_of(layer, x), x)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel", "strides"), [(3, 1), (4, 2), (3, 2), (2, 3), (1, 2)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed(rank: int, kernel: int, strides: int, padding: str) -> None:
    x = noise(*SHAPES[rank])
    check(model_of(getattr(layers, f"Conv{rank}DTranspose")(5, kernel, strides=strides, padding=padding), x), x)


def test_transposed_with_output_padding() -> None:
    x = noise(2, 5, 6, 4)
    for padding in ("valid", "same"):
        check(model_of(layers.Conv2DTranspose(5, 3, strides=2, padding=padding, output_padding=1), x), x)


def test_operations() -> None:
    x, ops = noise(2, 9, 8, 4), keras.ops
    kernel, deep, point = noise(3, 3, 4, 6), noise(3, 3, 4, 1), noise(1, 1, 4, 5)
    check(model_of(lambda x: ops.conv(x, kernel, padding="same"), x), x, tolerance=1e-4)
    check(model_of(lambda x: ops.depthwise_conv(x, deep, strides=2), x), x, tolerance=1e-4)
    check(model_of(lambda x: ops.separable_conv(x, deep, point), x), x, tolerance=1e-4)


def test_layer_that_is_read_twice_keeps_one_weight() -> None:
    x, y = noise(1, 6, 6, 4), noise(1, 8, 8, 4, seed=1)
    shared = layers.Conv2D(4, 3)
    graph = check(model_of(lambda x, y: (shared(x), shared(y)), x, y), x, y, tolerance=1e-4)
    assert {name for name, _ in graph.named_parameters()} == {f"{shared.name}.kernel", f"{shared.name}.bias"}
