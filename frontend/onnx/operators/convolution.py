"""Convolutions of one, two and three dimensions."""

from dataclasses import replace

from prunus.frontend.builder import Value, shape_of
from prunus.frontend.builder.windows import Window, convolution, transposed_convolution
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.windows import shared, window
from prunus.frontend.onnx.table import Operation, operator


@operator("Conv")
def conv(build: Builder, op: Operation) -> Value:
    x, weight = op.value(0), op.value(1)
    frame = window(op, shape_of(x)[2:], shape_of(weight)[2:])
    return convolution(build, x, weight, op.optional(2), frame, op.attribute("group", 1))


@operator("ConvTranspose")
def conv_transpose(build: Builder, op: Operation) -> Value:
    x, weight = op.value(0), op.value(1)
    sizes = shape_of(x)[2:]
    output_padding = list(op.attribute("output_padding") or (0,) * len(sizes))
    frame = _with_cuts(op, sizes, window(op, sizes, shape_of(weight)[2:]), output_padding)
    return transposed_convolution(build, x, weight, op.optional(2), frame, output_padding, op.attribute("group", 1))


def _with_cuts(op: Operation, sizes: tuple[int, ...], frame: Window, output_padding: list[int]) -> Window:
    """Return what is cut from both ends of the full output; `output_shape` and SAME decide over `pads`."""
    auto = op.attribute("auto_pad", "NOTSET")
    wanted = op.attribute("output_shape")
    if wanted is None:
        if not auto.startswith("SAME"):
            return frame
        wanted = [size * step for size, step in zip(sizes, frame.stride, strict=True)]
    full = [
        (size - 1) * step + (width - 1) * spread + 1 + more
        for size, step, width, spread, more in zip(
            sizes, frame.stride, frame.kernel, frame.dilation, output_padding, strict=True
        )
    ]
    totals = [have - want for have, want in zip(full, wanted[-len(full) :], strict=True)]
    begin, end = shared(totals, upper=auto == "SAME_UPPER")
    return replace(frame, begin=begin, end=end)
