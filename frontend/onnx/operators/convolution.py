"""Convolutions of one, two and three dimensions."""

from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.windows import by_rank, window
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.values import Value, shape_of
from prunus.passes.graph import aten

_CONVOLUTIONS = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
_TRANSPOSED = {1: aten.conv_transpose1d.default, 2: aten.conv_transpose2d.input, 3: aten.conv_transpose3d.input}


@operator("Conv")
def conv(build: Builder, op: Operation) -> Value:
    """Where the two ends are padded differently, padding becomes a node of its own."""
    x, weight = op.value(0), op.value(1)
    sizes = shape_of(x)[2:]
    frame = window(op, sizes, shape_of(weight)[2:])
    padding = list(frame.begin)
    if not frame.symmetric:
        x = build.call(aten.constant_pad_nd.default, x, frame.torch_padding(), 0.0)
        padding = [0] * len(sizes)
    return build.call(
        by_rank(op, _CONVOLUTIONS, len(sizes)), x, build.parameter(weight), build.parameter(op.optional(2), "bias"),
        list(frame.stride), padding, list(frame.dilation), op.attribute("group", 1),
    )  # fmt: skip


@operator("ConvTranspose")
def conv_transpose(build: Builder, op: Operation) -> Value:
    """Paddings that PyTorch cannot state (the ends differ by more than its output padding) are cut off afterwards."""
    x, weight = op.value(0), op.value(1)
    sizes = shape_of(x)[2:]
    rank = len(sizes)
    frame = window(op, sizes, shape_of(weight)[2:])
    output_padding = list(op.attribute("output_padding") or (0,) * rank)
    full = [
        (size - 1) * step + (width - 1) * spread + 1 + more
        for size, step, width, spread, more in zip(
            sizes, frame.stride, frame.kernel, frame.dilation, output_padding, strict=True
        )
    ]
    begin, end = _transposed_pads(op, sizes, frame.stride, full, (frame.begin, frame.end))
    cuts = [(0, 0)] * rank
    padding = [0] * rank
    for axis in range(rank):
        more = output_padding[axis] + begin[axis] - end[axis]
        if begin[axis] >= 0 and 0 <= more < max(frame.stride[axis], frame.dilation[axis]):
            padding[axis], output_padding[axis] = begin[axis], more
        else:
            cuts[axis] = (begin[axis], end[axis])
    y = build.call(
        by_rank(op, _TRANSPOSED, rank), x, build.parameter(weight), build.parameter(op.optional(2), "bias"),
        list(frame.stride), padding, output_padding, op.attribute("group", 1), list(frame.dilation),
    )  # fmt: skip
    if any(cut != (0, 0) for cut in cuts):
        flat = [-pad for pair in reversed(cuts) for pad in pair]
        y = build.call(aten.constant_pad_nd.default, y, flat, 0.0)
    return y


def _transposed_pads(
    op: Operation,
    sizes: tuple[int, ...],
    stride: tuple[int, ...],
    full: list[int],
    pads: tuple[tuple[int, ...], tuple[int, ...]],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what is cut from both ends of the full output; `output_shape` and SAME decide over `pads`."""
    auto = op.attribute("auto_pad", "NOTSET")
    wanted = op.attribute("output_shape")
    if wanted is None:
        if not auto.startswith("SAME"):
            return pads
        wanted = [size * step for size, step in zip(sizes, stride, strict=True)]
    totals = [have - want for have, want in zip(full, wanted[-len(full) :], strict=True)]
    smaller, larger = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    return (smaller, larger) if auto == "SAME_UPPER" else (larger, smaller)
