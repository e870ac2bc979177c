"""Integer operators: their reference implementations are the definition that every kernel meets bit by bit.

Activations are int8 with one scale and zero point, weights int8 with one scale an output channel and no zero point,
sums int32. Results come back to int8 in IEEE float32, which every processor rounds alike:

    y = clamp(rint(float32(sum) * scale) + zero_point, low, high)

one conversion (to nearest, ties to even), one multiplication, rounding with ties to even. Nothing is fused: a
product is rounded before anything is added to it. Scales given as Python floats are rounded to float32 first. A padded
element is the input's zero point, so it adds nothing to a sum. `low` and `high` also hold activations such as ReLU6.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from prunus.errors import GraphError

INT8_LOW, INT8_HIGH = -128, 127


@torch.library.custom_op("prunus::quantize", mutates_args=())
def quantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Return clamp(rint(x * float32(1 / scale)) + zero_point, -128, 127) as int8; NaN becomes -128.

    Args:
        x: float32, any shape.
        scale: value of one step; its reciprocal is computed in float64 and rounded to float32.
        zero_point: the integer that stands for 0.
    """
    return _to_int8(torch.nan_to_num(x, nan=-torch.inf) * _float32(1 / scale), zero_point, INT8_LOW, INT8_HIGH)


@quantize.register_fake
def _(x: Tensor, scale: float, zero_point: int) -> Tensor:
    return torch.empty_like(x, dtype=torch.int8)


@torch.library.custom_op("prunus::dequantize", mutates_args=())
def dequantize(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Return float32(x - zero_point) * scale for int8 x of any shape."""
    return (x.int() - zero_point).float() * _float32(scale)


@dequantize.register_fake
def _(x: Tensor, scale: float, zero_point: int) -> Tensor:
    return torch.empty_like(x, dtype=torch.float32)


@torch.library.custom_op("prunus::qconv", mutates_args=())
def qconv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    x_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Tensor:
    """Convolve integers in one or two dimensions: sum (x - x_zero_point) * weight + bias, back to int8.

    Args:
        x: (N, C, W) or (N, C, H, W) int8.
        weight: (O, C / groups, ...) int8.
        bias: (O,) int32, in steps of the sum.
        scale: (O,) float32, input scale * weight scale / output scale.
        stride, dilation: a number for each spatial dimension.
        padding: a number for each spatial dimension, or two, in front and behind: top, bottom, left, right.
        x_zero_point, zero_point: of input and output.
        low, high: bounds of the result, within -128..127.

    Raises:
        GraphError: a sum leaves int32.
    """
    sums = _convolve(x, weight, bias, stride, padding, dilation, groups, x_zero_point)
    return _to_int8(sums * _per_channel(scale, sums), zero_point, low, high)


@qconv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    x_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Tensor:
    return x.new_empty(_convolved_shape(x, weight, stride, padding, dilation))


@torch.library.custom_op("prunus::qconv_dequant", mutates_args=())
def qconv_dequant(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    x_zero_point: int,
) -> Tensor:
    """Convolve integers and leave them: float32(sum) * scale, where scale is input scale * weight scale."""
    sums = _convolve(x, weight, bias, stride, padding, dilation, groups, x_zero_point)
    return sums * _per_channel(scale, sums)


@qconv_dequant.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    x_zero_point: int,
) -> Tensor:
    return x.new_empty(_convolved_shape(x, weight, stride, padding, dilation), dtype=torch.float32)


@torch.library.custom_op("prunus::qlinear", mutates_args=())
def qlinear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    x_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Tensor:
    """Multiply (..., I) int8 by (O, I) int8: sum (x - x_zero_point) * weight + bias, back to int8.

    Arguments are those of `qconv`.

    Raises:
        GraphError: a sum leaves int32.
    """
    return _to_int8(_multiply(x, weight, bias, x_zero_point) * scale, zero_point, low, high)


@qlinear.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    x_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op("prunus::qlinear_dequant", mutates_args=())
def qlinear_dequant(x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor, x_zero_point: int) -> Tensor:
    """Multiply integers and leave them: float32(sum) * scale, where scale is input scale * weight scale."""
    return _multiply(x, weight, bias, x_zero_point) * scale


@qlinear_dequant.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor, x_zero_point: int) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]), dtype=torch.float32)


@torch.library.custom_op("prunus::qadd", mutates_args=())
def qadd(
    a: Tensor,
    b: Tensor,
    a_scale: float,
    b_scale: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Tensor:
    """Return clamp(rint(float32(a - a_zero_point) * a_scale + float32(b - b_zero_point) * b_scale) + zero_point).

    The scales are those of the operands divided by the result's. Shapes broadcast.
    """
    left = (a.int() - a_zero_point).float() * _float32(a_scale)
    right = (b.int() - b_zero_point).float() * _float32(b_scale)
    return _to_int8(left + right, zero_point, low, high)


@qadd.register_fake
def _(
    a: Tensor,
    b: Tensor,
    a_scale: float,
    b_scale: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Tensor:
    return a.new_empty(torch.broadcast_shapes(a.shape, b.shape))


@torch.library.custom_op("prunus::qmul", mutates_args=())
def qmul(
    a: Tensor, b: Tensor, scale: float, a_zero_point: int, b_zero_point: int, zero_point: int, low: int, high: int
) -> Tensor:
    """Return clamp(rint(float32((a - a_zero_point) * (b - b_zero_point)) * scale) + zero_point, low, high).

    The scale is the product of the operands' divided by the result's. Shapes broadcast.
    """
    product = (a.int() - a_zero_point) * (b.int() - b_zero_point)
    return _to_int8(product.float() * _float32(scale), zero_point, low, high)


@qmul.register_fake
def _(
    a: Tensor, b: Tensor, scale: float, a_zero_point: int, b_zero_point: int, zero_point: int, low: int, high: int
) -> Tensor:
    return a.new_empty(torch.broadcast_shapes(a.shape, b.shape))


@torch.library.custom_op("prunus::qlookup", mutates_args=())
def qlookup(x: Tensor, table: Tensor) -> Tensor:
    """Return table[x + 128]: any function of one int8 variable, such as hard-swish or a change of scale.

    Args:
        x: int8, any shape.
        table: (256,) int8.
    """
    return table[x.contiguous().long() + 128]


@qlookup.register_fake
def _(x: Tensor, table: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("prunus::qmean", mutates_args=())
def qmean(x: Tensor, dims: Sequence[int], keepdim: bool, scale: float, x_zero_point: int, zero_point: int) -> Tensor:
    """Return clamp(rint(float32(sum (x - x_zero_point)) * float32(scale / count)) + zero_point, -128, 127) over `dims`.

    The scale is the input's divided by the result's; the quotient is computed in float64 and rounded to float32.
    """
    sums = (x.long() - x_zero_point).sum(dim=list(dims), keepdim=keepdim)
    count = math.prod(x.shape[dim] for dim in dims)
    return _to_int8(_in_float32(sums) * _float32(scale / count), zero_point, INT8_LOW, INT8_HIGH)


@qmean.register_fake
def _(x: Tensor, dims: Sequence[int], keepdim: bool, scale: float, x_zero_point: int, zero_point: int) -> Tensor:
    return torch.empty_like(torch.amax(x, dim=list(dims), keepdim=keepdim))


@torch.library.custom_op("prunus::qavg_pool2d", mutates_args=())
def qavg_pool2d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    scale: float,
    x_zero_point: int,
    zero_point: int,
) -> Tensor:
    """Average windows of (N, C, H, W) int8: clamp(rint(float32(sum) * float32(scale / count)) + zero_point, -128, 127).

    The sum is that of x - x_zero_point over the window's elements inside the input; count is PyTorch's: with
    `count_include_pad` padded elements count too. The scale is the input's divided by the result's; its quotients are
    computed in float64 and rounded to float32.
    """
    window = (list(kernel_size), list(stride), list(padding), ceil_mode)
    # Sums of integers below 2^53 are exact in float64; a divisor of 1 makes averages sums.
    sums = functional.avg_pool2d(x.double() - x_zero_point, *window, divisor_override=1).long()
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=torch.float64)
    inside = functional.avg_pool2d(ones, *window, divisor_override=1)
    share = functional.avg_pool2d(ones, *window, count_include_pad=count_include_pad)
    counts = (inside / share).round()
    return _to_int8(_in_float32(sums) * (scale / counts).float(), zero_point, INT8_LOW, INT8_HIGH)


@qavg_pool2d.register_fake
def _(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    scale: float,
    x_zero_point: int,
    zero_point: int,
) -> Tensor:
    like = functional.avg_pool2d(x.float(), list(kernel_size), list(stride), list(padding), ceil_mode)
    return torch.empty_like(like, dtype=torch.int8)


def sides(padding: Sequence[int], dims: int) -> list[tuple[int, int]]:
    """Return (in front, behind) for each spatial dimension of a `qconv`'s padding."""
    if len(padding) == 2 * dims:
        return list(zip(padding[::2], padding[1::2], strict=True))
    return [(pad, pad) for pad in padding]


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    x_zero_point: int,
) -> Tensor:
    """Return the sums in float32; they are exact in float64, being integers below 2^53."""
    pads = sides(padding, x.dim() - 2)
    padded = functional.pad(x.double() - x_zero_point, [size for pair in reversed(pads) for size in pair])
    convolve = functional.conv1d if x.dim() == 3 else functional.conv2d
    sums = convolve(padded, weight.double(), None, list(stride), 0, list(dilation), groups).long()
    return _in_float32(sums if bias is None else sums + _per_channel(bias, sums))


def _convolved_shape(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    spatial = [
        (size + sum(pads) - by * (taps - 1) - 1) // step + 1
        for size, taps, step, pads, by in zip(
            x.shape[2:], weight.shape[2:], stride, sides(padding, x.dim() - 2), dilation, strict=True
        )
    ]
    return [x.shape[0], weight.shape[0], *spatial]


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None, x_zero_point: int) -> Tensor:
    sums = ((x.double() - x_zero_point) @ weight.double().t()).long()
    return _in_float32(sums if bias is None else sums + bias)


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 2))


def _in_float32(sums: Tensor) -> Tensor:
    """Convert int64 sums that a kernel holds in int32."""
    if sums.numel() and (sums.max() > torch.iinfo(torch.int32).max or sums.min() < torch.iinfo(torch.int32).min):
        raise GraphError(
            f"an integer sum reaches {max(sums.max().item(), -sums.min().item())}",
            expected="sums that fit into int32",
            do="leave this layer in float32",
        )
    return sums.float()


def _to_int8(steps: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """Round, clamp and move float32 steps; clamping in front of the zero point keeps everything exact.

    The result is contiguous: PyTorch pools int8 whose channels are last in memory only up to 127 elements.
    """
    return (torch.round(steps).clamp(low - zero_point, high - zero_point) + zero_point).to(torch.int8).contiguous()


def _float32(scalar: float) -> Tensor:
    return torch.tensor(scalar, dtype=torch.float32)
