"""Pooling."""

import keras
import pytest

from prunus.errors import ImportModelError
from prunus.frontend.keras import import_keras
from tests.frontend.keras.harness import check, model_of, noise

layers = keras.layers
SHAPES = {1: (2, 9, 4), 2: (2, 9, 8, 4), 3: (1, 5, 6, 7, 4)}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"strides": 1}], ids=str)
@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_windows(rank: int, kind: str, options, padding: str) -> None:
    x = noise(*SHAPES[rank])
    check(model_of(getattr(layers, f"{kind}Pooling{rank}D")(3, padding=padding, **options), x), x)


def test_file_does_not_say_how_an_odd_padding_is_averaged(tmp_path) -> None:
    x = noise(1, 6, 6, 4)
    model = model_of(layers.AveragePooling2D(3, 2, padding="same"), x)
    model.save(tmp_path / "odd.keras")
    with pytest.raises(ImportModelError, match="backends pad it in different ways"):
        import_keras(tmp_path / "odd.keras")
    model.save(tmp_path / "odd.h5")  # notes its backend
    import_keras(tmp_path / "odd.h5")
    even = model_of(layers.AveragePooling2D(3, 1, padding="same"), x)
    even.save(tmp_path / "even.keras")
    import_keras(tmp_path / "even.keras")


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global(rank: int, kind: str, keepdims: bool) -> None:
    x = noise(*SHAPES[rank])
    check(model_of(getattr(layers, f"Global{kind}Pooling{rank}D")(keepdims=keepdims), x), x)


def test_masked_average() -> None:
    x = noise(2, 9, 4)
    x[:, 6:] = 0
    check(model_of(lambda x: layers.GlobalAveragePooling1D()(layers.Masking()(x)), x), x)


@pytest.mark.parametrize("rank", [1, 2])
def test_adaptive(rank: int) -> None:
    x = noise(*SHAPES[rank])
    check(model_of(getattr(layers, f"AdaptiveAveragePooling{rank}D")(3), x), x)


def test_channels_first() -> None:
    x = noise(2, 4, 9, 8)
    check(model_of(layers.AveragePooling2D(2, padding="same", data_format="channels_first"), x), x)
    check(model_of(layers.GlobalAveragePooling2D(data_format="channels_first"), x), x)
