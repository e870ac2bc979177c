"""Direct convolution on odd shapes, any memory, every processor."""

import pytest
import torch

from prunus.backends.kernels.convolution import DirectConvolution
from prunus.backends.kernels.expression import Accumulator, Apply, Number, Operand
from prunus.passes.graph import aten
from tests.backends.kernels.harness import After, Layout, check_kernel

FAMILY = DirectConvolution()
LAST = Layout((0, 2, 3, 1))
INSIDE = Layout((0, 2, 3, 1), margin=2)
ACCUMULATOR = Accumulator()
RELU = After(Apply("max", (ACCUMULATOR, Number(0.0, "float32")), "float32"), torch.relu)


def convolution(
    channels: int, outputs: int, kernel: int | tuple[int, int], *, size: tuple[int, int] = (9, 11), batch: int = 1,
    stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1, bias: bool = True,
) -> list[object]:  # fmt: skip
    """Return arguments of aten.conv2d with numbers from a fixed seed."""
    generator = torch.Generator().manual_seed(channels * 100 + outputs)
    taps = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = torch.randn(batch, channels, *size, generator=generator)
    weight = torch.randn(outputs, channels // groups, *taps, generator=generator)
    b = torch.randn(outputs, generator=generator) if bias else None
    return [x, weight, b, [stride] * 2, [padding] * 2, [dilation] * 2, groups]


CASES = {
    "one channel": convolution(1, 1, 1),
    "few channels": convolution(3, 5, 3, padding=1),
    "odd channels": convolution(7, 37, 3, padding=1),
    "stride 2": convolution(5, 17, 3, stride=2, padding=1),
    "stride 3, large kernel": convolution(3, 16, 7, stride=3, padding=3, size=(15, 13)),
    "dilation": convolution(5, 7, 3, dilation=2, padding=2),
    "padding beyond the kernel": convolution(3, 9, 3, padding=4, size=(3, 4)),
    "groups": convolution(6, 10, 3, padding=1, groups=2),
    "a multiplier": convolution(3, 9, 3, padding=1, groups=3),
    "batch": convolution(5, 8, 3, padding=1, batch=3),
    "no bias": convolution(5, 24, 3, padding=1, bias=False),
    "long kernel": convolution(4, 6, (1, 5)),
    "tall kernel": convolution(4, 6, (4, 1), stride=2),
}


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_shapes(arguments: list[object], target: str) -> None:
    constants = [1, 2] if arguments[2] is not None else [1]
    check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=constants, layouts={0: LAST}, output_layout=LAST,
        target=target, after=RELU,
    )  # fmt: skip


@pytest.mark.parametrize(
    "layout", [Layout(), Layout(margin=1), LAST, INSIDE], ids=["NCHW", "part", "NHWC", "part of NHWC"]
)
def test_any_memory(layout: Layout) -> None:
    arguments = CASES["odd channels"]
    check_kernel(FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: layout}, output_layout=INSIDE)


def test_every_way_of_computing() -> None:
    arguments = convolution(5, 70, 3, padding=1, size=(6, 13))
    check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: LAST}, output_layout=LAST, knobs=12
    )


@pytest.mark.parametrize("target", ["x86-64-v2", "rpi4", "rpi3-armhf"])
def test_other_processors(target: str) -> None:
    for name in ("few channels", "odd channels", "groups"):
        check_kernel(
            FAMILY, aten.conv2d.default, CASES[name], constants=(1, 2), layouts={0: LAST}, output_layout=LAST,
            target=target,
        )  # fmt: skip


def test_padding_of_its_own() -> None:
    arguments = convolution(3, 8, 3, stride=2, size=(8, 8))
    check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: LAST}, output_layout=LAST,
        padding=((0, 1), (2, 1)),
    )  # fmt: skip


def residual() -> After:
    """Return sigmoid(acc + residual) * a scale for each channel."""
    other = torch.randn(1, 37, 9, 11, generator=torch.Generator().manual_seed(1))
    scale = torch.randn(37, 1, 1, generator=torch.Generator().manual_seed(2))
    total = Apply("add", (ACCUMULATOR, Operand(0, "float32")), "float32")
    gate = Apply("sigmoid", (total,), "float32")
    expression = Apply("mul", (gate, Operand(1, "float32")), "float32")
    return After(expression, lambda y, o, s: torch.sigmoid(y + o) * s, (other, scale), (LAST,))


@pytest.mark.parametrize("in_place", [None, 0], ids=["apart", "in place"])
def test_epilogue(in_place: int | None) -> None:
    check_kernel(
        FAMILY, aten.conv2d.default, CASES["odd channels"], constants=(1, 2), layouts={0: LAST}, output_layout=LAST,
        after=residual(), in_place=in_place,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra", "groups"),
    [(3, 2, 1, 1, 1), (4, 2, 1, 0, 1), (2, 2, 0, 0, 1), (3, 1, 0, 0, 1), (5, 3, 2, 2, 2), (1, 2, 0, 1, 1)],
)
def test_transposed(kernel: int, stride: int, padding: int, extra: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(kernel)
    x = torch.randn(2, 6, 5, 7, generator=generator)
    weight = torch.randn(6, 10 // groups, kernel, kernel, generator=generator)
    bias = torch.randn(10, generator=generator)
    arguments = [x, weight, bias, [stride] * 2, [padding] * 2, [extra] * 2, groups, [1, 1]]
    check_kernel(
        FAMILY, aten.conv_transpose2d.input, arguments, constants=(1, 2), layouts={0: LAST}, output_layout=LAST
    )


@pytest.mark.parametrize("channels", [1, 17])
def test_one_dimension(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    x, weight = torch.randn(2, channels, 23, generator=generator), torch.randn(9, channels, 5, generator=generator)
    arguments = [x, weight, None, [2], [2], [2], 1]
    last = Layout((0, 2, 1))
    check_kernel(FAMILY, aten.conv1d.default, arguments, constants=(1,), layouts={0: last}, output_layout=last)


def test_refuses_other_numbers() -> None:
    arguments = [argument.double() if isinstance(argument, torch.Tensor) else argument for argument in CASES["groups"]]
    with pytest.raises(AssertionError, match="it multiplies float32, not float64"):
        check_kernel(FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: LAST}, output_layout=LAST)
