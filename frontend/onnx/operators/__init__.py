"""One small function for each ONNX operator, grouped by subject; importing this package fills the table."""

from prunus.frontend.onnx.operators import (
    activation,
    attention,
    control,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    quantized,
    recurrent,
    reduction,
    resize,
    sequence,
    shape,
)

__all__ = [
    "activation",
    "attention",
    "control",
    "convolution",
    "elementwise",
    "indexing",
    "linear",
    "normalization",
    "pooling",
    "quantized",
    "recurrent",
    "reduction",
    "resize",
    "sequence",
    "shape",
]
