"""Reversed dimensions equal PyTorch's."""

import pytest
import torch

from prunus.backends.kernels.flip import FlipDimensions
from tests.backends.kernels.harness import Layout, check_kernel

FLIP = torch.ops.aten.flip.default


@pytest.mark.parametrize("order", [None, (0, 2, 3, 1)])
@pytest.mark.parametrize("dims", [[-1], [0, 2], [1], [0, 1, 2, 3], []], ids=str)
def test_flip(dims: list[int], order: tuple[int, ...] | None) -> None:
    layouts = {0: Layout(order, 1)}
    check_kernel(FlipDimensions(), FLIP, (torch.randn(2, 5, 3, 19), dims), layouts=layouts, output_layout=Layout(order))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_dtypes(dtype: torch.dtype) -> None:
    check_kernel(FlipDimensions(), FLIP, (torch.randint(0, 2, (3, 37)).to(dtype), [1]))
