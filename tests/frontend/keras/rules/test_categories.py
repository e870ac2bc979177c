"""Numbers of categories as rows of zeros and ones."""

import keras
import pytest

from prunus.errors import ImportModelError
from prunus.frontend.keras import import_keras
from tests.frontend.keras.harness import check, model_of, noise, places

layers = keras.layers


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(3, 1), (3, 4)], ids=str)
def test_category_encoding(mode: str, shape) -> None:
    x = places(5, *shape)
    check(model_of(layers.CategoryEncoding(5, output_mode=mode), x), x)


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_discretization(mode: str) -> None:
    x = noise(3, 4)
    x[0, 0] = 0.5  # a boundary belongs to what is above it
    check(model_of(layers.Discretization([-0.5, 0.0, 0.5], output_mode=mode), x), x)


def test_one_hot_along_an_axis() -> None:
    x = places(5, 3, 4)
    check(model_of(lambda x: keras.ops.one_hot(x, 5, axis=1), x), x)


def test_counts_with_weights_are_refused() -> None:
    inputs, weights = keras.Input((4,), dtype="int32"), keras.Input((4,))
    counted = layers.CategoryEncoding(5, output_mode="count")(inputs, count_weights=weights)
    with pytest.raises(ImportModelError, match="weights of what is counted"):
        import_keras(keras.Model([inputs, weights], counted))
