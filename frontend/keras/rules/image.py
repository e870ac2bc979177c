"""Pictures: scales of pixels, sizes, and layers that only change them in training."""

from typing import Any

import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.layout import channels_back, channels_first, is_last, per_axis
from prunus.frontend.keras.table import Call, rule
from prunus.passes.graph import aten

_IN_TRAINING_ONLY = (
    "AugMix",
    "CutMix",
    "GaussianDropout",
    "GaussianNoise",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
)
_SMALLEST = 1e-7


@rule(*(f"layers.{name}" for name in _IN_TRAINING_ONLY))
def as_it_is(build: Builder, call: Call) -> Value:
    return call.x


@rule("layers.Dropout", "layers.SpatialDropout1D", "layers.SpatialDropout2D", "layers.SpatialDropout3D")
def dropout(build: Builder, call: Call) -> Value:
    """Kept, and switched off, so that a model can be trained further."""
    return build.call(aten.dropout.default, call.x, float(call.rate), False)


@rule("layers.Rescaling")
def rescaling(build: Builder, call: Call) -> Value:
    """x * scale + offset; several numbers are one a channel."""
    x = arithmetic.cast(build, call.x, torch.float32)
    scale, offset = (_a_channel(build, numbers, rank_of(x)) for numbers in (call.scale, call.offset))
    scaled = arithmetic.multiply(build, x, scale)
    return scaled if bool((offset == 0).all()) else arithmetic.add(build, scaled, offset)


def _a_channel(build: Builder, numbers: Any, rank: int) -> torch.Tensor:
    tensor = torch.as_tensor(numbers, dtype=torch.float32)
    if tensor.dim() and not is_last(None):
        tensor = tensor.reshape(*tensor.shape, *(1,) * (rank - 1 - tensor.dim()))
    return tensor


@rule("layers.Normalization")
def normalization(build: Builder, call: Call) -> Value:
    """(x - mean) / standard deviation, or the inverse of that."""
    x = arithmetic.cast(build, call.x, torch.float32)
    mean, variance = build.value(call.mean), build.value(call.variance)
    deviation = variance.sqrt().clamp(min=_SMALLEST)
    if call.invert:
        return arithmetic.add(build, arithmetic.multiply(build, x, deviation), mean)
    return arithmetic.divide(build, arithmetic.subtract(build, x, mean), deviation)


@rule("layers.CenterCrop")
def center_crop(build: Builder, call: Call) -> Value:
    """Cut out the middle; what is smaller than that is resized first, which has no form here."""
    x = arithmetic.cast(build, call.x, torch.float32)
    rank = rank_of(x)
    axes = (rank - 3, rank - 2) if is_last(call.data_format) else (rank - 2, rank - 1)
    for axis, wanted in zip(axes, (call.height, call.width), strict=True):
        size = shape_of(x)[axis]
        if size < wanted:
            raise call.refuse(f"a picture of {size} is cropped to {wanted}", expected="a larger picture")
        start = (size - wanted) // 2
        x = build.call(aten.slice.Tensor, x, axis, start, start + wanted) if size > wanted else x
    return x


@rule("layers.Resizing")
def resizing(build: Builder, call: Call) -> Value:
    if call.crop_to_aspect_ratio or call.pad_to_aspect_ratio:
        raise call.refuse("it keeps the ratio of the sides")
    return _resized(
        build, call, arithmetic.cast(build, call.x, torch.float32), (call.height, call.width), call.antialias
    )


@rule("ops.Resize")
def resize(build: Builder, call: Call) -> Value:
    if call.crop_to_aspect_ratio or call.pad_to_aspect_ratio:
        raise call.refuse("it keeps the ratio of the sides")
    return _resized(build, call, build.value(call.x), per_axis(call.size, 2), call.antialias)


@rule("layers.UpSampling2D")
def up_sampling(build: Builder, call: Call) -> Value:
    x = channels_first(build, call.x, call.data_format)
    size = tuple(a * b for a, b in zip(shape_of(x)[2:], call.size, strict=True))
    return channels_back(build, _interpolated(build, call, x, size), call.data_format)


def _resized(build: Builder, call: Call, x: Value, size: tuple[int, ...], antialias: bool) -> Value:
    single = rank_of(x) == 3
    batched = build.call(aten.unsqueeze.default, x, 0) if single else x
    first = channels_first(build, batched, call.data_format)
    if shape_of(first)[2:] == size:
        return x
    if antialias and any(after < before for after, before in zip(size, shape_of(first)[2:], strict=True)):
        raise call.refuse("antialiasing while a picture shrinks")
    y = channels_back(build, _interpolated(build, call, first, size), call.data_format)
    return build.call(aten.squeeze.dim, y, 0) if single else y


def _interpolated(build: Builder, call: Call, x: Value, size: tuple[int, ...]) -> Value:
    """Corners of pixels meet, not their centres."""
    if call.interpolation == "bilinear":
        return build.call(aten.upsample_bilinear2d.default, x, list(size), False)
    if call.interpolation != "nearest":
        raise call.refuse(f"interpolation {call.interpolation!r}", expected="nearest or bilinear")
    if all(after % before == 0 for after, before in zip(size, shape_of(x)[2:], strict=True)):
        return build.call(aten.upsample_nearest2d.default, x, list(size))
    for axis, after in enumerate(size, start=2):
        before = shape_of(x)[axis]
        places = ((torch.arange(after) + 0.5) * before / after).floor().to(torch.int64).clamp(0, before - 1)
        x = build.call(aten.index_select.default, x, axis, places)
    return x


@rule("ops.RGBToGrayscale")
def rgb_to_grayscale(build: Builder, call: Call) -> Value:
    x = channels_first(build, call.x, call.data_format)
    weight = torch.tensor([0.2989, 0.5870, 0.1140], dtype=dtype_of(x)).reshape(1, 3, 1, 1)
    total = build.call(aten.sum.dim_IntList, arithmetic.multiply(build, x, weight), [1], True)
    return channels_back(build, total, call.data_format)
