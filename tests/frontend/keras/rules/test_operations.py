"""`keras.ops` that work on elements, reduce, and move."""

import keras
import numpy as np
import pytest

from prunus.errors import ImportModelError
from prunus.frontend.keras import import_keras
from tests.frontend.keras.harness import check, model_of, noise, places

layers, ops = keras.layers, keras.ops
UNARY = [
    "abs", "ceil", "cos", "cosh", "erf", "exp", "exp2", "expm1", "floor", "isfinite", "isinf", "isnan", "logical_not",
    "negative", "round", "sign", "sin", "sinh", "square", "tan", "tanh", "trunc", "arctan", "arcsinh", "relu", "relu6",
    "zeros_like", "ones_like",
]  # fmt: skip
POSITIVE = ["log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt"]
BINARY = [
    "add", "subtract", "multiply", "divide", "true_divide", "maximum", "minimum", "arctan2", "equal", "greater", "less",
    "less_equal",
]  # fmt: skip
REDUCTIONS = ["max", "min", "sum", "mean", "var", "std", "prod", "logsumexp", "any", "all", "amax", "amin"]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    x = noise(2, 5, 3)
    check(model_of(getattr(ops, name), x), x)


@pytest.mark.parametrize("name", POSITIVE)
def test_of_positive(name: str) -> None:
    x = np.abs(noise(2, 5, 3)) + 0.1
    check(model_of(getattr(ops, name), x), x)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    x, y, function = noise(2, 5, 3), noise(2, 5, 3, seed=1), getattr(ops, name)
    check(model_of(function, x, y), x, y)
    check(model_of(lambda x: function(x, 0.5), x), x)
    check(model_of(lambda x: function(0.5, x), x), x)
    check(model_of(lambda x: function(x, noise(3)), x), x)


def test_powers_and_divisions() -> None:
    x, whole = np.abs(noise(2, 5)) + 0.1, places(9, 2, 5) + 1
    check(model_of(lambda x: ops.power(x, 3), x), x)
    check(model_of(lambda x: ops.power(2.0, x), x), x)
    check(model_of(lambda x: ops.power(x, x), x), x)
    check(model_of(lambda x: x // 0.3, x), x)
    check(model_of(lambda x: x // 4, whole), whole)
    check(model_of(lambda x: ops.mod(x, 4), whole), whole)
    check(model_of(lambda x: x / 4, whole), whole)
    check(model_of(lambda x: ops.divide_no_nan(x, ops.relu(x - 0.5)), x), x)


def test_choices() -> None:
    x, y = noise(2, 5), noise(2, 5, seed=1)
    check(model_of(lambda x, y: ops.where(x > y, x, 0.0), x, y), x, y)
    check(model_of(lambda x, y: ops.where(x > 0, 1.0, y), x, y), x, y)
    check(model_of(lambda x, y: ops.logical_and(x > 0, y > 0), x, y), x, y)
    check(model_of(lambda x: ops.clip(x, -0.5, 0.5), x), x)
    check(model_of(lambda x: ops.cast(x > 0, "int32"), x), x)
    check(model_of(lambda x: ops.saturate_cast(300 * x, "uint8"), x), x)
    check(model_of(lambda x: ops.full_like(x, 2.5) * x, x), x)


@pytest.mark.parametrize(
    "name", ["max", "min", "sum", "mean", "var", "std", "prod", "logsumexp", "any", "all", "amax", "amin"]
)
@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": [0, 2], "keepdims": True}, {"axis": -1}], ids=str)
def test_reductions(name: str, options) -> None:
    x = noise(2, 5, 3)
    check(model_of(lambda x: getattr(ops, name)(x, **options), x), x, tolerance=1e-4)


def test_places() -> None:
    x = noise(2, 5, 3)
    for function in (ops.argmax, ops.argmin):
        check(model_of(lambda x, function=function: function(x, axis=1), x), x)
        check(model_of(function, x), x)
    check(model_of(lambda x: ops.cumsum(x, axis=1), x), x)
    check(model_of(lambda x: ops.norm(x, axis=(-1,)), x), x)
    check(model_of(lambda x: ops.count_nonzero(ops.relu(x), axis=1), x), x)
    check(model_of(lambda x: ops.top_k(x, 2), x), x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.reshape(x, (2, -1)),
        lambda x: ops.ravel(x),
        lambda x: ops.transpose(x),
        lambda x: ops.transpose(x, (2, 0, 1)),
        lambda x: ops.swapaxes(x, 1, -1),
        lambda x: ops.moveaxis(x, 0, -1),
        lambda x: ops.moveaxis(x, [0, 1], [-1, 0]),
        lambda x: ops.expand_dims(x, 1),
        lambda x: ops.expand_dims(x, (0, -1)),
        lambda x: ops.squeeze(ops.expand_dims(x, 1)),
        lambda x: ops.squeeze(ops.expand_dims(x, 1), 1),
        lambda x: ops.broadcast_to(x, (3, 2, 5, 3)),
        lambda x: ops.concatenate([x, x], axis=1),
        lambda x: ops.stack([x, 2 * x], axis=1),
        lambda x: ops.hstack([x, x]),
        lambda x: ops.vstack([x, x]),
        lambda x: ops.unstack(x, axis=1),
        lambda x: ops.split(x, 5, axis=1),
        lambda x: ops.split(x, [1, 4], axis=1),
        lambda x: ops.repeat(x, 2, axis=1),
        lambda x: ops.repeat(x, 3),
        lambda x: ops.tile(x, (2, 1, 3)),
        lambda x: ops.flip(x, 1),
        lambda x: ops.flip(x),
        lambda x: ops.roll(x, 2, axis=1),
        lambda x: ops.roll(x, 2),
        lambda x: ops.pad(x, ((0, 0), (1, 2), (3, 0))),
        lambda x: ops.pad(x, 1, constant_values=2.0),
        lambda x: ops.pad(x, ((0, 0), (1, 2), (1, 1)), mode="reflect"),
        lambda x: ops.pad(x, ((0, 0), (1, 2), (1, 1)), mode="symmetric"),
        lambda x: x[0],
        lambda x: x[:, -1],
        lambda x: x[..., 1:],
        lambda x: x[:, None, ::2],
        lambda x: x[:, ::-1],
        lambda x: x[..., 0, None],
        lambda x: ops.slice(x, (0, 1, 0), (2, 3, 2)),
        lambda x: ops.take(x, [2, 0, -1], axis=1),
        lambda x: ops.take(x, 1, axis=2),
        lambda x: ops.tril(x),
        lambda x: ops.triu(x, 1),
        lambda x: ops.one_hot(ops.argmax(x, axis=1), 5),
        lambda x: ops.stop_gradient(x) + ops.copy(x),
    ],
)
def test_moves(function) -> None:
    x = noise(2, 5, 3)
    check(model_of(function, x), x)


def test_indices_at_run_time() -> None:
    x, index = noise(2, 5, 3), places(5, 2, 4)
    check(model_of(lambda x, index: ops.take(x, index, axis=1), x, index), x, index)
    check(model_of(lambda x, index: ops.take_along_axis(x, ops.expand_dims(index, -1), axis=1), x, index), x, index)


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"])
def test_merges(name: str) -> None:
    x, y = noise(2, 5, 3), noise(2, 5, 3, seed=1)
    check(model_of(lambda x, y: getattr(layers, name)()([x, y]), x, y), x, y)


def test_reshaping_layers() -> None:
    x = noise(2, 4, 6, 3)
    for layer in (layers.Flatten(), layers.Reshape((6, -1)), layers.Permute((3, 1, 2)), layers.Identity()):
        check(model_of(layer, x), x)
    check(model_of(layers.Flatten(data_format="channels_first"), x), x)
    row = noise(2, 5)
    check(model_of(layers.RepeatVector(3), row), row)
    check(model_of(layers.ActivityRegularization(0.1), row), row)


def test_shape_that_depends_on_values_is_refused() -> None:
    x = noise(2, 5)
    with pytest.raises(ImportModelError):
        import_keras(model_of(lambda x: ops.where(x > 0)[0], x))
