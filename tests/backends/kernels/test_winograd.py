"""Winograd's way of convolution, on odd shapes, any memory, every processor."""

import pytest
import torch

from prunus.backends.kernels.convolution import DirectConvolution
from prunus.backends.kernels.expression import Accumulator, Apply, Operand
from prunus.backends.kernels.family import Family
from prunus.backends.kernels.winograd import WinogradKnob
from prunus.passes.graph import aten
from prunus.targets import load_target
from tests.backends.kernels.harness import After, Layout, check_kernel

LAST = Layout((0, 2, 3, 1))
INSIDE = Layout((0, 2, 3, 1), margin=2)


class OnlyWinograd(DirectConvolution):
    """The family without its direct ways."""

    def knobs(self, problem, target):
        return [knob for knob in super().knobs(problem, target) if isinstance(knob, WinogradKnob)]


FAMILY: Family = OnlyWinograd()


def convolution(
    channels: int, outputs: int, *, size: tuple[int, int] = (9, 11), batch: int = 1, padding: int = 1, bias: bool = True
) -> list[object]:
    """Return arguments of aten.conv2d with numbers from a fixed seed."""
    generator = torch.Generator().manual_seed(channels * 100 + outputs)
    x = torch.randn(batch, channels, *size, generator=generator)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator)
    b = torch.randn(outputs, generator=generator) if bias else None
    return [x, weight, b, [1, 1], [padding] * 2, [1, 1], 1]


CASES = {
    "even": convolution(16, 16, size=(8, 12)),
    "odd": convolution(17, 37),
    "no padding": convolution(8, 9, padding=0, size=(10, 12)),
    "no padding, odd": convolution(8, 9, padding=0, size=(7, 9)),
    "more padding": convolution(9, 8, padding=2),
    "batch": convolution(8, 16, batch=3),
    "no bias": convolution(8, 24, bias=False),
    "hardly larger than a tile": convolution(8, 8, size=(4, 8)),
}


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_shapes(arguments: list[object], target: str) -> None:
    constants = [1, 2] if arguments[2] is not None else [1]
    match = check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=constants, layouts={0: LAST}, output_layout=LAST,
        target=target, knobs=3,
    )  # fmt: skip
    assert FAMILY.knobs(match.problem, load_target(target))


def test_part_of_memory_and_an_epilogue() -> None:
    arguments = convolution(9, 21)
    other = torch.randn(1, 21, 9, 11, generator=torch.Generator().manual_seed(1))
    add = After(Apply("add", (Accumulator(), Operand(0, "float32")), "float32"), torch.add, (other,), (INSIDE,))
    check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: INSIDE}, output_layout=INSIDE, after=add
    )


def test_every_way_of_computing() -> None:
    arguments = convolution(11, 70, size=(12, 14))
    check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: LAST}, output_layout=LAST, knobs=20
    )


@pytest.mark.parametrize("target", ["x86-64-v2", "rpi4", "rpi3-armhf"])
def test_other_processors(target: str) -> None:
    arguments = convolution(9, 19)
    check_kernel(
        FAMILY, aten.conv2d.default, arguments, constants=(1, 2), layouts={0: LAST}, output_layout=LAST, target=target
    )
