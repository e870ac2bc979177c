"""Every way of computing an integer layer gives the same bytes, in any memory and behind any epilogue."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from prunus.backends.kernels.expression import Accumulator, Apply, Expression, Operand
from prunus.backends.kernels.family import Family
from prunus.backends.kernels.quantized_convolution import IntegerConvolution
from prunus.backends.kernels.quantized_depthwise import IntegerDepthwise
from prunus.backends.kernels.quantized_depthwise_words import IntegerDepthwiseWords
from prunus.backends.kernels.quantized_matmul import IntegerMatrixProduct
from prunus.targets import Target, load_target
from prunus.targets.target import Cache
from tests.backends.kernels.harness import After, Layout, check_kernel
from tests.backends.kernels.integer_layers import Call, convolution, integers, quantized

LAST = Layout((0, 2, 3, 1))
INSIDE = Layout((0, 2, 3, 1), margin=2)
TARGETS = ["native", "x86-64-v4", "x86-64-v3", "rpi3", "rpi5", "rpi3-armhf"]
_KNOBS = 6

LARGER: Expression = Apply("max", (Accumulator("int8"), Operand(0, "int8")), "int8")
"""The larger of the result and another tensor: any operation on int8 would do."""

Case = tuple[Family, Call, tuple[int, ...]]
CASES: dict[str, Case] = {
    "49 channels": (IntegerMatrixProduct(), convolution(49, 50, 1, bits=4), (2, 49, 5, 7)),
    "one register": (IntegerMatrixProduct(), convolution(20, 12, 1, bits=4), (1, 20, 3, 9)),
    "many blocks": (IntegerMatrixProduct(), convolution(33, 300, 1, bits=4), (1, 33, 5, 5)),
    "one pixel": (IntegerMatrixProduct(), convolution(49, 300, 1, bits=4), (1, 49, 1, 1)),
    "bytes": (IntegerMatrixProduct(), convolution(33, 70, 1), (1, 33, 5, 5)),
    "first layer": (IntegerConvolution(), convolution(1, 49, 3, stride=2, padding=1, bits=4), (1, 1, 13, 9)),
    "groups": (IntegerConvolution(), convolution(20, 12, 3, padding=1, groups=2, bits=4), (2, 20, 5, 5)),
    "odd words": (IntegerConvolution(), convolution(12, 37, 3, padding=1, bits=4), (1, 12, 5, 6)),
    "wide": (IntegerConvolution(), convolution(8, 150, 3, padding=1, bits=4), (1, 8, 5, 5)),
    "one block": (IntegerDepthwiseWords(), convolution(49, 49, 3, padding=1, groups=49, bits=6), (2, 49, 7, 5)),
    "two blocks": (IntegerDepthwiseWords(), convolution(100, 100, 3, groups=100, bits=4), (1, 100, 7, 5)),
    "plain depthwise": (IntegerDepthwise(), convolution(21, 21, 3, padding=1, groups=21), (1, 21, 7, 5)),
}  # fmt: skip


class Spread:
    """A family that offers a few of its knobs, from the best guess to the worst."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)

    def knobs(self, problem: Any, target: Target) -> Sequence[Any]:
        knobs = self._family.knobs(problem, target)
        step = max(1, len(knobs) // (_KNOBS - 1))
        return [*knobs[:-1:step], knobs[-1]]


def check(case: str, target: Target, layout: Layout = LAST, dims: Sequence[int] = (0, 1, 2, 3)) -> None:
    """Check a case; the tensor of the epilogue is broadcast along other dimensions than `dims`."""
    family, layer, size = CASES[case]
    arguments = [integers(*size), *layer.arguments]
    constants = [i for i, argument in enumerate(arguments) if i > 0 and isinstance(argument, torch.Tensor)]
    shape = quantized.qconv(*arguments).shape
    operand = integers(*(size if dim in dims else 1 for dim, size in enumerate(shape)), seed=9)
    after = After(LARGER, torch.maximum, (operand,), (layout,))
    check_kernel(
        Spread(family), quantized.qconv.default, arguments, constants=constants, layouts={0: layout},
        output_layout=layout, target=target, after=after, knobs=_KNOBS + 1,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_knobs(case: str, target: str) -> None:
    record = load_target(target)
    words = record.architecture == "x86_64" or record.has("dotprod")
    if isinstance(CASES[case][0], IntegerDepthwiseWords) and not words:
        pytest.skip("this family is for other instructions")
    check(case, record)


@pytest.mark.parametrize("case", ["many blocks", "one pixel", "groups", "wide"])
@pytest.mark.parametrize("target", ["native", "x86-64-v3", "rpi5"])
def test_weights_that_do_not_fit_the_cache(case: str, target: str) -> None:
    check(case, replace(load_target(target), cache=Cache(l1_bytes=1024, l2_bytes=2048)))


@pytest.mark.parametrize("case", ["49 channels", "first layer", "one block"])
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_nothing_beyond_the_channels_is_touched(case: str, target: str) -> None:
    check(case, load_target(target), INSIDE)


@pytest.mark.parametrize("case", ["49 channels", "odd words", "one block"])
@pytest.mark.parametrize("dims", [(1,), (2, 3), (0, 1, 2), ()], ids=str)
def test_operands_that_are_broadcast(case: str, dims: tuple[int, ...]) -> None:
    check(case, load_target("native"), dims=dims)
