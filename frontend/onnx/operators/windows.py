"""Paddings of ONNX's sliding windows, shared by convolution and pooling."""

from prunus.frontend.builder.windows import Window, same_totals
from prunus.frontend.onnx.table import Operation


def window(op: Operation, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the window of a convolution or pooling.

    Args:
        sizes: spatial sizes of the input.
        kernel: sizes of the kernel.
    """
    rank = len(sizes)
    stride = tuple(op.attribute("strides") or (1,) * rank)
    dilation = tuple(op.attribute("dilations") or (1,) * rank)
    pads = tuple(op.attribute("pads") or (0,) * (2 * rank))
    auto = op.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = shared(same_totals(sizes, kernel, stride, dilation), upper=auto == "SAME_UPPER")
    elif auto == "VALID":
        begin = end = (0,) * rank
    else:
        begin, end = pads[:rank], pads[rank:]
    return Window(kernel, stride, dilation, begin, end)


def shared(totals: list[int], *, upper: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what of each padding stands at the begin and at the end; an odd one out at the end, if `upper`."""
    smaller, larger = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    return (smaller, larger) if upper else (larger, smaller)
