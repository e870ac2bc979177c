"""Constant padding equals PyTorch's, in every layout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.backends.kernels.pad import PaddedLoop, PadWithConstant, join
from tests.backends.kernels.harness import Layout, check_kernel

PAD = torch.ops.aten.constant_pad_nd.default


@pytest.mark.parametrize("order", [None, (0, 2, 3, 1)])
@pytest.mark.parametrize("pad", [[1, 2], [0, 3, 2, 1], [0, 0, 0, 0, 4, 5], [1, 1, 1, 1, 1, 1, 1, 1], []], ids=str)
def test_pad(pad: list[int], order: tuple[int, ...] | None) -> None:
    layout = Layout(order)
    check_kernel(
        PadWithConstant(), PAD, (torch.randn(2, 5, 7, 19), pad, -1.5), layouts={0: layout}, output_layout=layout
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    check_kernel(
        PadWithConstant(), PAD, (torch.randint(0, 2, (3, 21)).to(dtype), [2, 3], 1), layouts={0: Layout(None, 2)}
    )


def test_layouts_may_differ() -> None:
    layouts = {0: Layout((0, 2, 3, 1), 1)}
    check_kernel(PadWithConstant(), PAD, (torch.randn(2, 3, 4, 5), [1, 0, 0, 2], 7.0), layouts=layouts)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_any_shape(sizes: list[int], pad: list[int]) -> None:
    check_kernel(PadWithConstant(), PAD, (torch.randn(sizes), pad[: 2 * len(sizes)], 0.25))


def test_channels_join_columns() -> None:
    columns, channels = PaddedLoop(8, 1, 6, 5, 5), PaddedLoop(5, 0, 5, 1, 1)
    assert join([channels, columns]) == (PaddedLoop(40, 5, 30, 1, 1),)
