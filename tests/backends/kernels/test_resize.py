"""Resized images equal PyTorch's, for every size and factor."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.backends.kernels.resize import ResizedAxis, ResizeImage
from tests.backends.kernels.harness import Layout, check_kernel

aten = torch.ops.aten
CHANNELS_LAST = Layout((0, 2, 3, 1))


@pytest.mark.parametrize("layout", [Layout(), CHANNELS_LAST], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("size", [[10, 14], [5, 7], [3, 4], [1, 1], [13, 9]], ids=str)
def test_nearest(size: list[int], layout: Layout) -> None:
    x = torch.randn(2, 19, 5, 7)
    check_kernel(ResizeImage(), aten.upsample_nearest2d.default, (x, size), layouts={0: layout}, output_layout=layout)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("layout", [Layout(), CHANNELS_LAST], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("size", [[10, 14], [5, 7], [3, 4], [1, 1], [13, 9]], ids=str)
def test_bilinear(size: list[int], layout: Layout, align_corners: bool) -> None:
    given = (torch.randn(2, 19, 5, 7), size, align_corners)
    check_kernel(ResizeImage(), aten.upsample_bilinear2d.default, given, layouts={0: layout}, output_layout=layout)


@pytest.mark.parametrize("factor", [2.0, 1.7, 0.6, 3.3])
def test_factors(factor: float) -> None:
    x = torch.randn(1, 3, 11, 9)
    size = [int(11 * factor), int(9 * factor)]
    check_kernel(ResizeImage(), aten.upsample_nearest2d.default, (x, size, factor, factor))
    check_kernel(ResizeImage(), aten.upsample_bilinear2d.default, (x, size, False, factor, factor))


def test_nearest_copies_bytes() -> None:
    x = torch.randint(0, 255, (1, 37, 3, 3), dtype=torch.uint8)
    check_kernel(ResizeImage(), aten.upsample_nearest2d.default, (x, [6, 6]), layouts={0: CHANNELS_LAST})


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_tables(input_size: int, output_size: int, align_corners: bool) -> None:
    axis = ResizedAxis(input_size, output_size, None, align_corners)
    places = torch.arange(input_size, dtype=torch.float32).reshape(1, 1, 1, -1)
    nearest = aten.upsample_nearest2d.default(places, [1, output_size])
    assert nearest.flatten().tolist() == axis.nearest().tolist()
    low, high, weight = map(torch.from_numpy, axis.bilinear())
    mixed = low + (high - low) * weight
    expected = aten.upsample_bilinear2d.default(places, [1, output_size], align_corners).flatten()
    assert (mixed - expected).abs().max() <= 1e-4
