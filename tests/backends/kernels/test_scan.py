"""Running sums equal PyTorch's along every dimension."""

import pytest
import torch

from prunus.backends.kernels.scan import RunningSums
from tests.backends.kernels.harness import Layout, check_kernel

CUMSUM = torch.ops.aten.cumsum.default


@pytest.mark.parametrize("order", [None, (0, 2, 3, 1)])
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_dimensions(dim: int, order: tuple[int, ...] | None) -> None:
    x = torch.randn(2, 5, 3, 19)
    check_kernel(RunningSums(), CUMSUM, (x, dim), layouts={0: Layout(order, 1)}, output_layout=Layout(order))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.int64, torch.bool, torch.uint8])
def test_dtypes(dtype: torch.dtype) -> None:
    check_kernel(RunningSums(), CUMSUM, (torch.randint(0, 2, (4, 21)).to(dtype), 0))


def test_one_row() -> None:
    check_kernel(RunningSums(), CUMSUM, (torch.randn(37), 0))
