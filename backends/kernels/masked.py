"""Loads and stores of the first elements of a register, where the processor has instructions for them.

What lies behind those elements in memory is neither read nor written, so a register may reach beyond a tensor's end.
"""

from prunus.backends.kernels.emit import Index, Memory, Vector, load, pieces, store
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import lane_dtype, part, splat
from prunus.targets import Target


def has_masks(target: Target) -> bool:
    """Tell whether bytes of a register can be left out: AVX-512 BW."""
    return target.has("avx512bw")


def load_first(memory: Memory, index: Index, lanes: int, count: int, stride: int = 1) -> Vector:
    """Load the first `count` of `lanes` elements, zeros behind them; stride 0 fills every lane with one element.

    Any stride will do where all of them are loaded.
    """
    if count == lanes or stride == 0:
        return load(memory, index, lanes, stride)
    zeros = splat(0, memory.stored_dtype, lanes)
    return T.call_llvm_intrin(
        lane_dtype(memory.stored_dtype, lanes), "llvm.masked.load", T.address_of(memory.buffer[index]),
        _first(lanes, count), zeros,
    )  # fmt: skip


def store_first(memory: Memory, index: Index, value: Vector, lanes: int, count: int) -> None:
    """Store the first `count` of `lanes` neighbouring elements."""
    if count == lanes:
        store(memory, index, value, lanes)
        return
    place = T.address_of(memory.buffer[index])
    T.evaluate(T.call_llvm_intrin("void", "llvm.masked.store", value, place, _first(lanes, count)))


def store_pieces(memory: Memory, index: Index, value: Vector, lanes: int, count: int) -> None:
    """Store the first `count` of `lanes` neighbouring elements without a mask, by powers of two."""
    for start, width in pieces(count, lanes):
        store(memory, index + start, part(value, start, width), width)


def _first(lanes: int, count: int) -> Vector:
    return T.ramp(T.int32(0), 1, lanes) < splat(count, "int32", lanes)
