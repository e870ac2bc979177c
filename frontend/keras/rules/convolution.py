"""Convolutions."""

from typing import Any

from prunus.frontend.builder import Value, arithmetic, rank_of, shape_of
from prunus.frontend.builder.windows import Window, convolution, same_totals, transposed_convolution
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.layout import channels_back, channels_first, per_axis
from prunus.frontend.keras.rules.linear import biased, refuse_quantized
from prunus.frontend.keras.table import Call, rule


@rule("layers.Conv1D", "layers.Conv2D", "layers.Conv3D")
def conv(build: Builder, call: Call) -> Any:
    refuse_quantized(call)
    x = channels_first(build, call.x, call.data_format)
    weight = _weight(build, build.value(call.kernel))
    frame = window(call, shape_of(x)[2:], shape_of(weight)[2:])
    y = convolution(build, x, weight, build.value(call.bias), frame, call.groups)
    return biased(build, call, channels_back(build, y, call.data_format))


@rule("layers.DepthwiseConv1D", "layers.DepthwiseConv2D")
def depthwise_conv(build: Builder, call: Call) -> Any:
    x = channels_first(build, call.x, call.data_format)
    weight = _depthwise_weight(build, build.value(call.kernel))
    frame = window(call, shape_of(x)[2:], shape_of(weight)[2:])
    y = convolution(build, x, weight, build.value(call.bias), frame, shape_of(x)[1])
    return biased(build, call, channels_back(build, y, call.data_format))


@rule("layers.SeparableConv1D", "layers.SeparableConv2D")
def separable_conv(build: Builder, call: Call) -> Any:
    x = channels_first(build, call.x, call.data_format)
    y = _separable(
        build, call, x, build.value(call.depthwise_kernel), build.value(call.pointwise_kernel), build.value(call.bias)
    )
    return biased(build, call, channels_back(build, y, call.data_format))


@rule("layers.Conv1DTranspose", "layers.Conv2DTranspose", "layers.Conv3DTranspose")
def conv_transpose(build: Builder, call: Call) -> Any:
    y = _transposed(build, call, call.x, build.value(call.kernel), build.value(call.bias))
    return biased(build, call, y)


@rule("ops.Conv")
def conv_operation(build: Builder, call: Call) -> Value:
    """Groups follow from the shapes."""
    x, weight = channels_first(build, call.x, call.data_format), _weight(build, build.value(call.args[1]))
    frame = window(call, shape_of(x)[2:], shape_of(weight)[2:])
    y = convolution(build, x, weight, None, frame, shape_of(x)[1] // shape_of(weight)[1])
    return channels_back(build, y, call.data_format)


@rule("ops.DepthwiseConv")
def depthwise_conv_operation(build: Builder, call: Call) -> Value:
    x, weight = channels_first(build, call.x, call.data_format), _depthwise_weight(build, build.value(call.args[1]))
    frame = window(call, shape_of(x)[2:], shape_of(weight)[2:])
    return channels_back(build, convolution(build, x, weight, None, frame, shape_of(x)[1]), call.data_format)


@rule("ops.SeparableConv")
def separable_conv_operation(build: Builder, call: Call) -> Value:
    x = channels_first(build, call.x, call.data_format)
    y = _separable(build, call, x, build.value(call.args[1]), build.value(call.args[2]), None)
    return channels_back(build, y, call.data_format)


@rule("ops.ConvTranspose")
def conv_transpose_operation(build: Builder, call: Call) -> Value:
    return _transposed(build, call, call.x, build.value(call.args[1]), None)


def window(call: Call, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the window of a convolution over `sizes`; an odd padding has its larger half at the end."""
    rank = len(sizes)
    stride, dilation = per_axis(call.strides, rank), per_axis(call.dilation_rate, rank)
    totals = [0] * rank
    if call.padding == "same":
        totals = same_totals(sizes, kernel, stride, dilation)
    elif call.padding == "causal":
        totals = [(width - 1) * spread for width, spread in zip(kernel, dilation, strict=True)]
        return Window(kernel, stride, dilation, tuple(totals), (0,) * rank)
    begin = tuple(total // 2 for total in totals)
    return Window(kernel, stride, dilation, begin, tuple(t - b for t, b in zip(totals, begin, strict=True)))


def _weight(build: Builder, kernel: Value) -> Value:
    """[*kernel, channels / groups, filters] --> [filters, channels / groups, *kernel]"""
    rank = rank_of(kernel)
    return arithmetic.permute(build, kernel, [rank - 1, rank - 2, *range(rank - 2)])


def _depthwise_weight(build: Builder, kernel: Value) -> Value:
    """[*kernel, channels, multiplier] --> [channels * multiplier, 1, *kernel]"""
    rank = rank_of(kernel)
    sizes = shape_of(kernel)
    moved = arithmetic.permute(build, kernel, [rank - 2, rank - 1, *range(rank - 2)])
    return arithmetic.reshape(build, moved, [sizes[-2] * sizes[-1], 1, *sizes[:-2]])


def _separable(build: Builder, call: Call, x: Value, depthwise: Value, pointwise: Value, bias: Value | None) -> Value:
    """Return the pointwise convolution of the depthwise one, both of channels first."""
    weight = _depthwise_weight(build, depthwise)
    frame = window(call, shape_of(x)[2:], shape_of(weight)[2:])
    inner = convolution(build, x, weight, None, frame, shape_of(x)[1])
    ones, zeros = (1,) * len(frame.kernel), (0,) * len(frame.kernel)
    return convolution(build, inner, _weight(build, pointwise), bias, Window(ones, ones, ones, zeros, zeros))


def _transposed(build: Builder, call: Call, x: Value, kernel: Value, bias: Value | None) -> Value:
    x = channels_first(build, x, call.data_format)
    rank = rank_of(x) - 2
    weight = _weight(build, kernel)  # [*kernel, filters, channels] --> [channels, filters, *kernel]
    stride, dilation = per_axis(call.strides, rank), per_axis(call.dilation_rate, rank)
    widths = [(size - 1) * spread + 1 for size, spread in zip(shape_of(weight)[2:], dilation, strict=True)]
    wanted = (None,) * rank if call.output_padding is None else per_axis(call.output_padding, rank)
    cuts = [_cut(call, width, step, more) for width, step, more in zip(widths, stride, wanted, strict=True)]
    begin, end = zip(*cuts, strict=True)
    frame = Window(shape_of(weight)[2:], stride, dilation, begin, end)
    y = transposed_convolution(build, x, weight, bias, frame, (0,) * rank)
    return channels_back(build, y, call.data_format)


def _cut(call: Call, width: int, step: int, more: int | None) -> tuple[int, int]:
    """Return what is cut from both ends of the full output, negative for zeros that are appended."""
    if call.padding == "valid":
        return 0, -(max(width, step) - width if more is None else more)
    total = width - step if more is None else width - width % 2 - more
    begin = max(total, 0) // 2
    return begin, total - begin
