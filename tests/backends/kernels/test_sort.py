"""Sorted rows equal PyTorch's, with ties in order and NaN last."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.backends.kernels.sort import SortRows
from tests.backends.kernels.harness import Layout, check_kernel

aten = torch.ops.aten


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_sort_is_stable(dim: int, descending: bool) -> None:
    x = torch.randint(0, 5, (7, 4, 13)).float()
    stable = torch.sort(x, dim=dim, descending=descending, stable=True)
    found = aten.sort.default(x, dim, descending)
    assert torch.equal(stable.indices, found[1]), (
        "PyTorch's sort of short rows is not stable any more: rewrite this test"
    )
    check_kernel(SortRows(), aten.sort.default, (x, dim, descending), layouts={0: Layout((2, 0, 1), 1)})


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 3, 17])
def test_topk(k: int, largest: bool) -> None:
    x = torch.randperm(3 * 17).reshape(3, 17).float()
    check_kernel(SortRows(), aten.topk.default, (x, k, -1, largest))


@pytest.mark.parametrize("descending", [False, True])
def test_nan_is_the_largest(descending: bool) -> None:
    x = torch.tensor([3.0, math.nan, -math.inf, math.nan, math.inf, 0.0, -1.0])
    check_kernel(SortRows(), aten.sort.default, (x, 0, descending))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.uint8, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    x = torch.randperm(50).reshape(2, 25).to(dtype)
    check_kernel(SortRows(), aten.sort.default, (x, 1, True))


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 70), st.integers(1, 3))
def test_any_length(length: int, rows: int) -> None:
    x = torch.stack([torch.randperm(length) for _ in range(rows)])
    check_kernel(SortRows(), aten.sort.default, (x, 1))
