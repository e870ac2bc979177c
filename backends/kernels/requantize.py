"""From integer sums back to int8, exact to `passes/operators/quantized.py`: clamp(rint(sum * scale) + zero point)."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from prunus.backends.kernels.emit import Vector
from prunus.backends.kernels.family import Request
from prunus.backends.kernels.tir import T, tvm
from prunus.backends.kernels.vector_math import Math, join, lane_dtype, nearest_int, part, splat
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.targets import Target

# 1.5 * 2**23 as float32 and as bits: small integers added to the bits are integers added to the number.
_ONE_AND_A_HALF = 1.5 * 2**23
_ITS_BITS = 0x4B400000


@dataclass(frozen=True)
class Requantize:
    """Back to int8: clamp(rint(sum * scale) + zero_point, low, high).

    Attributes:
        as_float: no sum and no product reaches 2**22. Biases are packed with the bits of 1.5 * 2**23 added, and sums
            are read as float32 that much too large: conversions become additions.
        fits: no product reaches 2**31, so rounding it to int32 needs no bounds.
        narrow: no product reaches 2**15, so neither does narrowing it to int16.
    """

    zero_point: int
    low: int
    high: int
    as_float: bool = False
    fits: bool = False
    narrow: bool = False

    @property
    def bias(self) -> int:
        """Return what every packed bias is larger by."""
        return _ITS_BITS if self.as_float else 0


def requantize_of(call: SimpleNamespace, request: Request, target: Target) -> Requantize | None:
    """Return how a convolution or linear layer goes back to int8, None where it stays in float32."""
    if not hasattr(call, "low"):
        return None
    weight, scale = request.constants[1].numpy().astype(np.int64), request.constants[3].numpy()
    largest = 255 * np.abs(weight).reshape(len(weight), -1).sum(axis=1)
    if 2 in request.constants:
        largest = largest + np.abs(request.constants[2].numpy().astype(np.int64))
    products = largest * np.abs(scale)
    # An ARM core with two pipes for vectors adds on both, but converts on one, at half the rate.
    slow_conversions = target.architecture != "x86_64" and target.fma_per_cycle > target.lanes()
    # Rounding to float32 adds less than the bounds are rounded down by.
    return Requantize(
        call.zero_point,
        call.low,
        call.high,
        as_float=slow_conversions and bool((np.maximum(largest, products) < 2**22).all()),
        fits=bool((products < 2**30).all()),
        narrow=bool((products < 2**15 - 1).all()),
    )


def convert(total: Vector, scale: Vector, requantize: Requantize | None, lanes: int, target: Target) -> Vector:
    """Return int32 sums times float32 scales, as float32 or back in int8."""
    if requantize is None:
        return T.bind(_scaled(total, scale, lanes))
    whole = _rounded(total, scale, requantize, lanes, target)
    return _narrow(_to_int16(whole, requantize, lanes), requantize, lanes)


def convert_registers(
    totals: Sequence[Vector], scales: Sequence[Vector], widths: Sequence[int], requantize: Requantize, target: Target
) -> Vector:
    """Return up to four registers of int32 sums as int8, x86 only.

    Two by two they are narrowed part by part of 16 bytes, and one permutation puts the words of four bytes in order.

    Args:
        widths: lanes of the registers; the last may be narrower.

    Returns:
        As many lanes as the registers have, four full registers' if there are three; what no register fills is of
        no use.
    """
    lanes, count = widths[0], 4 if len(totals) > 2 else len(totals)
    whole = [
        _widened(_rounded(total, scale, requantize, width, target), width, lanes)
        for total, scale, width in zip(totals, scales, widths, strict=True)
    ]
    words = T.reinterpret(lane_dtype("int32", lanes), _packed(whole, requantize, lanes))
    order = [lane % lanes // 4 * 4 + lane // lanes for lane in range(0, count * lanes, 4)]
    if order != list(range(lanes)):
        words = tvm.tirx.Shuffle([T.bind(words)], order)
    return T.bind(T.reinterpret(lane_dtype("int8", count * lanes), words))


def convert_interleaved(
    totals: Sequence[Vector], scales: Sequence[Vector], requantize: Requantize, lanes: int, target: Target
) -> Vector:
    """Return four registers of int32 sums, interleaved by parts of 16 bytes, as int8 in order."""
    pairs = zip(totals, scales, strict=True)
    whole = [_rounded(total, scale, requantize, lanes, target) for total, scale in pairs]
    if target.architecture == "x86_64":
        return _packed(whole, requantize, lanes)
    return _narrow(_to_int16(join(whole, 4 * lanes), requantize, 4 * lanes), requantize, 4 * lanes)


def _packed(whole: Sequence[Vector], requantize: Requantize, lanes: int) -> Vector:
    """Narrow up to four registers of int32 two by two, each part of 16 bytes by itself; the last one fills up."""
    level = {4: "sse2.{}.128", 8: "avx2.{}", 16: "avx512.{}.512"}[lanes]

    def pack(name: str, dtype: str, pair: Sequence[Vector], lanes: int) -> Vector:
        return T.call_llvm_pure_intrin(lane_dtype(dtype, lanes), f"llvm.x86.{level.format(name)}", *pair)

    def in_pairs(vectors: Sequence[Vector]) -> list[tuple[Vector, Vector]]:
        return [(first, vectors[min(i + 1, len(vectors) - 1)]) for i, first in enumerate(vectors) if i % 2 == 0]

    halves = [_moved(pack("packssdw", "int16", pair, 2 * lanes), requantize, 2 * lanes) for pair in in_pairs(whole)]
    (pair,) = in_pairs([T.bind(half) for half in halves])
    return _bounded(pack("packsswb", "int8", pair, 4 * lanes), requantize, 4 * lanes)


def _widened(value: Vector, width: int, lanes: int) -> Vector:
    """Return int32 lanes with zeros behind them."""
    if width == lanes:
        return value
    return T.bind(tvm.tirx.Shuffle([value, splat(0, "int32", lanes)], list(range(lanes))))


def _rounded(total: Vector, scale: Vector, requantize: Requantize, lanes: int, target: Target) -> Vector:
    """Return rint(float32(total) * scale) as int32."""
    if not requantize.as_float:
        return _to_int32(_scaled(total, scale, lanes), lanes, target, fits=requantize.fits)
    m = Math("float32", lanes)
    number = T.reinterpret(lane_dtype("float32", lanes), total) - m(_ONE_AND_A_HALF)
    return nearest_int(m.llvm("llvm.arithmetic.fence", number * scale), m)


def _scaled(total: Vector, scale: Vector, lanes: int) -> Vector:
    """Multiply int32 by float32; the fence keeps LLVM from fusing the product with a sum of the epilogue."""
    m = Math("float32", lanes)
    return m.llvm("llvm.arithmetic.fence", T.cast(total, lane_dtype("float32", lanes)) * scale)


def _to_int16(whole: Vector, requantize: Requantize, lanes: int) -> Vector:
    """Narrow int32; what was converted is bounded and narrowed in one instruction, what was added is not."""
    if requantize.as_float and requantize.narrow:
        return T.bind(T.cast(whole, lane_dtype("int16", lanes)))
    return _saturate(whole, "int16", lanes)


def _narrow(value: Vector, requantize: Requantize, lanes: int) -> Vector:
    """Move int16 by the zero point and return it as int8 within bounds."""
    return _bounded(_saturate(_moved(value, requantize, lanes), "int8", lanes), requantize, lanes)


def _moved(value: Vector, requantize: Requantize, lanes: int) -> Vector:
    m = Math("int16", lanes)
    return T.bind(m.llvm("llvm.sadd.sat", value, m(requantize.zero_point))) if requantize.zero_point else value


def _bounded(value: Vector, requantize: Requantize, lanes: int) -> Vector:
    if requantize.low > INT8_LOW:
        value = T.max(value, splat(requantize.low, "int8", lanes))
    if requantize.high < INT8_HIGH:
        value = T.min(value, splat(requantize.high, "int8", lanes))
    return T.bind(value)


def _saturate(value: Vector, dtype: str, lanes: int) -> Vector:
    """Narrow int32 to int16, or that to int8; LLVM knows clamp and cast as one instruction."""
    wide = {"int16": "int32", "int8": "int16"}[dtype]
    limits = np.iinfo(dtype)
    bounded = T.min(T.max(value, splat(limits.min, wide, lanes)), splat(limits.max, wide, lanes))
    return T.bind(T.cast(bounded, lane_dtype(dtype, lanes)))


def _to_int32(steps: Vector, lanes: int, target: Target, *, fits: bool) -> Vector:
    """Round to nearest, ties to even; what int32 cannot hold becomes its end, or on x86 2**30, or -2**31."""
    m, dtype = Math("float32", lanes), lane_dtype("int32", lanes)
    if target.architecture == "x86_64":
        # `cvtps2dq` makes -2**31 of anything too large.
        bounded = steps if fits else T.min(steps, m(2.0**30))
        return T.bind(T.call_llvm_pure_intrin(dtype, "llvm.lrint", bounded))
    if lanes < 4:
        return T.bind(T.cast(m.llvm("llvm.roundeven", steps), dtype))
    name = "llvm.aarch64.neon.fcvtns" if target.architecture == "aarch64" else "llvm.arm.neon.vcvtns"
    steps = T.bind(steps)
    quarters = [part(steps, first, 4) for first in range(0, lanes, 4)]
    return join([T.bind(T.call_llvm_pure_intrin("int32x4", name, quarter)) for quarter in quarters], lanes)
