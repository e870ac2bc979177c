"""Blocks of columns, and the registers that a tile may use."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.kernels.tiling import Columns, accumulator_limit, parts, rows_that_fit, tile_cycles, with_weights
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


@pytest.mark.parametrize("name", ["x86-64-vnni", "x86-64-v3", "rpi4"])
def test_weights_cost_where_no_cache_holds_them(name: str) -> None:
    target = load_target(name)
    first, second = target.cache.l1_bytes, target.cache.l2_bytes
    fetched = 1e6
    assert with_weights(0.0, fetched, first // 2, target) == 0
    near, far = (with_weights(0.0, fetched, held, target) for held in (second // 2, 2 * second))
    assert 0 < near < far
    assert with_weights(2 * far, fetched, 2 * second, target) == 2 * far


@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 30), st.sampled_from([1, 2, 4]))
def test_rows_share_out_among_cores(blocks: int, rows: int, tile: int, cores: int) -> None:
    """Parts are whole tiles of one size; where any cut shares out, that one is taken."""
    count = parts(blocks, rows, tile, cores)
    assert rows % count == 0
    assert count == 1 or rows // count % tile == 0

    def even(cuts: int) -> bool:
        return blocks * cuts % cores == 0 or blocks * cuts >= 4 * cores

    possible = [cuts for cuts in range(1, rows // tile + 1) if rows % tile == 0 and rows // tile % cuts == 0]
    assert even(count) or not any(map(even, possible))
