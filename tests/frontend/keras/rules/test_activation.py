"""Activations."""

import keras
import pytest

from tests.frontend.keras.harness import check, model_of, noise

layers = keras.layers
FUNCTIONS = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear",
    "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign",
    "squareplus", "swish", "tanh", "tanh_shrink",
]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    x = 3 * noise(2, 5, 6)
    check(model_of(layers.Activation(name), x), x)
    check(model_of(layers.Dense(4, activation=name), x), x)


@pytest.mark.parametrize(
    "layer",
    [
        layers.ReLU(),
        layers.ReLU(max_value=6.0),
        layers.ReLU(negative_slope=0.1),
        layers.ReLU(max_value=2.0, negative_slope=0.1),
        layers.ReLU(threshold=0.5),
        layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.5),
        layers.LeakyReLU(),
        layers.PReLU(),
        layers.PReLU(shared_axes=[1, 2]),
        layers.ELU(0.7),
        layers.Softmax(),
        layers.Softmax(axis=1),
        layers.Softmax(axis=(1, 2)),
    ],
    ids=lambda layer: layer.name,
)
def test_layers(layer) -> None:
    x = 3 * noise(2, 5, 4, 3)
    check(model_of(layer, x), x)


def test_masked_softmax() -> None:
    x, hidden = noise(2, 5), noise(2, 5)
    check(model_of(lambda x, hidden: layers.Softmax()(x, mask=keras.ops.greater(hidden, 0.0)), x, hidden), x, hidden)


def test_slopes_are_trainable() -> None:
    x = noise(1, 4, 4, 3)
    graph = check(model_of(layers.PReLU(shared_axes=[1, 2]), x), x)
    assert [tuple(parameter.shape) for parameter in graph.parameters()] == [(1, 1, 3)]
