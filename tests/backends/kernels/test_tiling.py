"""Blocks of columns, and the registers that a tile may use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.kernels.tiling import Columns, accumulator_limit, rows_that_fit, tile_cycles
from prunus.targets import load_target, target_names


@given(st.integers(1, 100), st.sampled_from([4, 8, 16]), st.integers(1, 6), st.booleans())
def test_blocks_cover_all_columns(count: int, lanes: int, vectors: int, exact: bool) -> None:
    columns = Columns(count, lanes, vectors, exact)
    widths = [
        width for tail in columns.kinds() for _ in range(1 if tail else columns.full) for width in columns.widths(tail)
    ]
    assert all(width & (width - 1) == 0 and width <= lanes for width in widths)
    assert sum(widths) == (count if exact else columns.padded)
    assert count <= columns.padded
    assert columns.blocks == columns.full + (True in columns.kinds())


@given(st.integers(1, 60), st.integers(1, 5), st.sampled_from([4, 8]), st.integers(1, 3))
def test_packing(count: int, rows: int, lanes: int, vectors: int) -> None:
    columns = Columns(count, lanes, vectors)
    matrix = np.arange(1, rows * count + 1, dtype=np.float32).reshape(rows, count)
    packed = columns.pack(matrix)
    unpacked, start = [], 0
    for tail in columns.kinds():
        width = sum(columns.widths(tail))
        for _ in range(1 if tail else columns.full):
            unpacked.append(packed[start : start + rows * width].reshape(rows, width))
            start += rows * width
    found = np.concatenate(unpacked, axis=1)
    assert np.array_equal(found[:, :count], matrix)
    assert not found[:, count:].any()
    assert start == packed.size


@pytest.mark.parametrize("name", target_names()[1:])
@pytest.mark.parametrize("vectors", [1, 2, 3, 6])
def test_tiles_fit_the_registers(name: str, vectors: int) -> None:
    target = load_target(name)
    rows = rows_that_fit(vectors, target)
    assert rows >= 1
    if rows > 1:
        assert rows * vectors + vectors <= accumulator_limit(target) < target.vector_registers


def test_larger_tiles_cost_less_a_product() -> None:
    target = load_target("x86-64-v3")
    small, large = tile_cycles(2, (8,), target) / 2, tile_cycles(6, (8, 8), target) / 12
    assert large < small
