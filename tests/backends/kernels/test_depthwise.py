"""Depthwise convolution on odd shapes, any memory, every processor."""

import pytest
import torch

from prunus.backends.kernels.depthwise import DepthwiseConvolution
from prunus.backends.kernels.expression import Accumulator, Apply, Operand
from prunus.passes.graph import aten
from tests.backends.kernels.harness import After, Layout, check_kernel

FAMILY = DepthwiseConvolution()
LAST = Layout((0, 2, 3, 1))
INSIDE = Layout((0, 2, 3, 1), margin=2)


def depthwise(
    channels: int, kernel: int, *, size: tuple[int, int] = (9, 11), batch: int = 1, stride: int = 1, padding: int = 0,
    dilation: int = 1, bias: bool = True,
) -> list[object]:  # fmt: skip
    """Return arguments of aten.conv2d with one group a channel."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(batch, channels, *size, generator=generator)
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator)
    b = torch.randn(channels, generator=generator) if bias else None
    return [x, weight, b, [stride] * 2, [padding] * 2, [dilation] * 2, channels]


CASES = {
    "two channels": depthwise(2, 3, padding=1),
    "odd channels": depthwise(37, 3, padding=1),
    "many channels": depthwise(96, 3, padding=1, size=(5, 14)),
    "stride 2": depthwise(24, 3, stride=2, padding=1),
    "5x5": depthwise(17, 5, padding=2),
    "dilation": depthwise(9, 3, dilation=2, padding=2),
    "padding beyond the kernel": depthwise(5, 3, padding=4, size=(3, 4)),
    "batch, no bias": depthwise(7, 3, batch=3, bias=False),
}


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_shapes(arguments: list[object], target: str) -> None:
    constants = [1, 2] if arguments[2] is not None else [1]
    check_kernel(
        FAMILY,
        aten.conv2d.default,
        arguments,
        constants=constants,
        layouts={0: INSIDE},
        output_layout=LAST,
        target=target,
    )


def test_every_way_of_computing() -> None:
    check_kernel(
        FAMILY, aten.conv2d.default, CASES["many channels"], constants=(1, 2), layouts={0: LAST}, output_layout=INSIDE,
        knobs=20,
    )  # fmt: skip


@pytest.mark.parametrize("target", ["x86-64-v2", "rpi4", "rpi3-armhf"])
def test_other_processors(target: str) -> None:
    for name in ("odd channels", "stride 2"):
        check_kernel(
            FAMILY, aten.conv2d.default, CASES[name], constants=(1, 2), layouts={0: LAST}, output_layout=LAST,
            target=target,
        )  # fmt: skip


def test_padding_of_its_own() -> None:
    check_kernel(
        FAMILY, aten.conv2d.default, depthwise(8, 3, stride=2, size=(8, 8)), constants=(1, 2), layouts={0: LAST},
        output_layout=LAST, padding=((0, 1), (0, 1)),
    )  # fmt: skip


def test_residual_in_place() -> None:
    other = torch.randn(1, 37, 9, 11, generator=torch.Generator().manual_seed(1))
    after = After(Apply("add", (Accumulator(), Operand(0, "float32")), "float32"), torch.add, (other,), (LAST,))
    check_kernel(
        FAMILY, aten.conv2d.default, CASES["odd channels"], constants=(1, 2), layouts={0: LAST}, output_layout=LAST,
        after=after, in_place=0,
    )  # fmt: skip
