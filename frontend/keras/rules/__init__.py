"""Rules for Keras' layers and operations, by kind; importing this package fills the table."""

from prunus.frontend.keras.rules import (
    activation,
    categories,
    convolution,
    elementwise,
    image,
    linear,
    normalization,
    pooling,
    recurrent,
    reduction,
    shape,
)

__all__ = [
    "activation",
    "categories",
    "convolution",
    "elementwise",
    "image",
    "linear",
    "normalization",
    "pooling",
    "recurrent",
    "reduction",
    "shape",
]
