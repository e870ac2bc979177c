"""Maxima and averages of windows over any view equal PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from prunus.backends.kernels.expression import Accumulator, Apply, Number, Operand
from prunus.backends.kernels.pool import Pools
from tests.backends.kernels.harness import After, Layout, check_kernel
from tests.backends.kernels.strategies import FEW, layouts

aten = torch.ops.aten
FAMILY = Pools()
CHANNELS_LAST = Layout((0, 2, 3, 1), 1)
X = torch.randn(2, 37, 13, 11, generator=torch.Generator().manual_seed(1))

# Arguments after the input.
WINDOWS = [
    (aten.max_pool2d.default, ([3, 3], [2, 2], [1, 1])),
    (aten.max_pool2d.default, ([2, 3], [], [0, 1], [2, 1], True)),
    (aten.max_pool2d.default, ([5, 5], [1, 1], [2, 2])),
    (aten.max_pool2d.default, ([2, 2], [3, 3])),
    (aten.max_pool2d.default, ([1, 3],)),
    (aten.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], True)),
    (aten.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], True, False)),
    (aten.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], False, False, 5)),
    (aten.avg_pool2d.default, ([13, 11],)),
    (aten.avg_pool2d.default, ([3, 9], [2, 1], [1, 4], True, False)),
    (aten.avg_pool2d.default, ([3, 9], [2, 2], [1, 4], True, True)),
    (aten.avg_pool2d.default, ([3, 1], [1, 1], [1, 0])),
    (aten.adaptive_avg_pool2d.default, ([4, 3],)),
    (aten.adaptive_avg_pool2d.default, ([13, 5],)),
    (aten.adaptive_avg_pool2d.default, ([1, 1],)),
    (aten.adaptive_max_pool2d.default, ([5, 11],)),
]


@pytest.mark.parametrize("layout", [CHANNELS_LAST, Layout(), Layout((0, 1, 3, 2), 1)], ids=str)
@pytest.mark.parametrize(("operator", "window"), WINDOWS, ids=str)
def test_windows_with_an_epilogue(operator: Any, window: tuple[Any, ...], layout: Layout) -> None:
    shifted = Apply("add", (Accumulator(), Operand(0, "float32")), "float32")
    expression = Apply("max", (shifted, Number(0.25, "float32")), "float32")
    after = After(expression, lambda y, shift: (y + shift).clamp(min=0.25), (torch.randn(37, 1, 1),))
    check_kernel(FAMILY, operator, (X, *window), layouts={0: layout}, output_layout=layout, after=after)


@FEW
@given(data=st.data())
def test_any_window_of_any_view(data: st.DataObject) -> None:
    channels, sizes = data.draw(st.integers(1, 40)), data.draw(st.tuples(st.integers(1, 14), st.integers(1, 24)))
    kernel_size = [data.draw(st.integers(1, 10)) for _ in sizes]
    stride = [data.draw(st.integers(1, 4)) for _ in sizes]
    padding = [data.draw(st.integers(0, taps // 2)) for taps in kernel_size]
    assume(all(size + 2 * pad >= taps for size, pad, taps in zip(sizes, padding, kernel_size, strict=True)))
    x, ceil_mode = torch.randn(2, channels, *sizes), data.draw(st.booleans())
    layout, output = data.draw(layouts(4)), data.draw(layouts(4))
    window = (kernel_size, stride, padding)
    check_kernel(
        FAMILY, aten.max_pool2d.default, (x, *window, [1, 1], ceil_mode), layouts={0: layout}, output_layout=output
    )
    rest = (ceil_mode, data.draw(st.booleans()))
    check_kernel(FAMILY, aten.avg_pool2d.default, (x, *window, *rest), layouts={0: layout}, output_layout=output)


@pytest.mark.parametrize("window", [([3, 3], [2, 2], [1, 1]), ([5, 5], [1, 1], [2, 2]), ([2, 2],)], ids=str)
def test_every_way(window: tuple[Any, ...]) -> None:
    check_kernel(
        FAMILY, aten.max_pool2d.default, (X, *window), layouts={0: CHANNELS_LAST}, output_layout=CHANNELS_LAST, knobs=30
    )


def test_one_and_three_dimensions() -> None:
    check_kernel(FAMILY, aten.max_pool3d.default, (torch.randn(2, 5, 4, 6, 7), [3, 3, 3], [2, 2, 2], [1, 1, 1]))
    check_kernel(FAMILY, aten.avg_pool3d.default, (torch.randn(5, 4, 6, 7), [1, 3, 2]))
    check_kernel(FAMILY, aten.max_pool1d.default, (torch.randn(2, 5, 30), [3], [2], [1]))
    check_kernel(FAMILY, aten.avg_pool1d.default, (torch.randn(5, 30), [13], [2], [1]))
    check_kernel(FAMILY, aten.adaptive_avg_pool1d.default, (torch.randn(2, 5, 30), [7]))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64], ids=str)
def test_maxima_of_integers(dtype: torch.dtype) -> None:
    x = torch.arange(2 * 37 * 9 * 9).remainder(120).reshape(2, 37, 9, 9).flip(2).to(dtype)
    window = ([3, 3], [2, 2], [1, 1])
    check_kernel(FAMILY, aten.max_pool2d.default, (x, *window), layouts={0: CHANNELS_LAST}, output_layout=CHANNELS_LAST)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "rpi4", "rpi3-armhf"])
@pytest.mark.parametrize(("operator", "window"), WINDOWS[::5], ids=str)
def test_other_targets(target: str, operator: Any, window: tuple[Any, ...]) -> None:
    check_kernel(FAMILY, operator, (X, *window), layouts={0: CHANNELS_LAST}, output_layout=CHANNELS_LAST, target=target)
