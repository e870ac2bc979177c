"""Register tiles of integer kernels: the walk over input channels, packing, and the way back to int8 or float32."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from prunus.backends.kernels.emit import Index, Memory, Registers, Vector, evaluate, load, loop, pieces, store
from prunus.backends.kernels.family import Epilogue, Request
from prunus.backends.kernels.integer_dot import WORD, Dot, Loaded
from prunus.backends.kernels.tiling import Columns
from prunus.backends.kernels.tir import T, tvm
from prunus.backends.kernels.vector_math import Math, lane_dtype, nearest_int, splat
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
    """

    zero_point: int
    low: int
    high: int
    as_float: bool = False
    fits: bool = False

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
    reached = largest * np.maximum(np.abs(scale), 1.0)
    # An ARM core with two pipes for vectors adds on both, but converts on one, at half the rate.
    slow_conversions = target.architecture != "x86_64" and target.fma_per_cycle > target.lanes()
    small = slow_conversions and bool((reached < 2**22).all())
    # Below 2**31 by more than what rounding to float32 adds.
    return Requantize(call.zero_point, call.low, call.high, small, fits=bool((reached < 2**30).all()))


@dataclass(frozen=True)
class Run:
    """Input bytes that lie side by side and are multiplied word by word.

    The last word of a run that is no multiple of four starts early, with zero weights where it repeats channels, so
    that nothing beyond the run is read. A run shorter than a word is put together from its bytes.
    """

    size: int

    @property
    def words(self) -> int:
        return -(-self.size // WORD)

    def offsets(self) -> list[int]:
        """Return where each word starts."""
        whole = [word * WORD for word in range(self.size // WORD)]
        return whole if self.size % WORD == 0 else [*whole, max(0, self.size - WORD)]

    def spread(self, weights: np.ndarray) -> np.ndarray:
        """Return weights (..., size, outputs) as (..., words, outputs, 4), zero where a word repeats channels."""
        taken = np.zeros((*weights.shape[:-2], self.words, WORD, weights.shape[-1]), weights.dtype)
        done = 0
        for word, offset in enumerate(self.offsets()):
            end = min(offset + WORD, self.size)
            taken[..., word, done - offset : end - offset, :] = weights[..., done:end, :]
            done = end
        return np.ascontiguousarray(np.swapaxes(taken, -1, -2))

    def loads(self, first: int, most: int) -> Iterator[tuple[int, int]]:
        """Yield (offset, words) of loads of at most `most` words that cover the words from `first` on."""
        for start, words in pieces(self.size // WORD - first, most):
            yield (first + start) * WORD, words
        if self.size % WORD:
            yield max(0, self.size - WORD), 1


def pack_weights(weights: np.ndarray, columns: Columns, dot: Dot) -> np.ndarray:
    """Return weights (words, outputs, 4) as the kernel reads them: by blocks, words, registers, parts, lanes."""
    blocks = []
    for block in range(columns.blocks):
        start, registers = block * columns.block, []
        for width in columns.widths(tail=block == columns.full):
            piece = weights[:, start : start + width]
            piece = np.pad(piece, [(0, 0), (0, width - piece.shape[1]), (0, 0)])
            registers += [piece[..., list(part)].reshape(len(piece), -1) for part in dot.parts]
            start += width
        blocks.append(np.concatenate(registers, axis=1).reshape(-1))
    return np.concatenate(blocks)


def start_of(bias: Sequence[Any], outputs: int, requantize: Requantize | None) -> np.ndarray:
    """Return what sums start from, as int64: the bias, a sequence of one tensor or none, as `requantize` wants it."""
    start = bias[0].numpy().astype(np.int64) if bias else np.zeros(outputs, np.int64)
    return start + (requantize.bias if requantize is not None else 0)


def wrap_int32(numbers: np.ndarray) -> np.ndarray:
    """Return int64 modulo 2**32: sums of int32 wrap and end where they should."""
    return (numbers & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


class IntegerTile:
    """Sums of `pixels` by the registers of one block of columns.

    Args:
        dot: the multiplying instructions.
        terms: words that are added up before widening.
        run: what each pixel reads.
        widths: lanes of the registers.
    """

    def __init__(self, dot: Dot, terms: int, run: Run, widths: Sequence[int], pixels: int) -> None:
        self.dot, self.terms, self.run, self.widths = dot, terms, run, tuple(widths)
        self.starts = [sum(self.widths[:v]) for v in range(len(self.widths))]
        self.pixels = pixels
        self.sums = Registers(pixels * len(self.widths), list(self.widths) * pixels, "int32")

    @property
    def word_bytes(self) -> int:
        """Bytes of weights of one word for all registers."""
        return WORD * sum(self.widths)

    def fill(self, bias: Sequence[Vector]) -> None:
        """Start all pixels from one row of sums."""
        for p in range(self.pixels):
            for v in range(len(self.widths)):
                self.sums[p * len(self.widths) + v] = bias[v]

    def accumulate(self, x: Memory, places: Sequence[Index], w: Memory, at: Index) -> None:
        """Add one run of every pixel: inputs from `places`, weights from `at`."""
        most = self.dot.load_words
        unit = max(most, self.terms)
        repeats = self.run.size // WORD // unit
        if repeats:
            with loop(0, repeats) as i:
                moved = [place + i * (unit * WORD) for place in places]
                loads = [(start * WORD, words) for start, words in pieces(unit, most)]
                self._words(x, moved, loads, w, at + i * (unit * self.word_bytes))
        rest = list(self.run.loads(repeats * unit, most))
        if rest:
            self._words(x, places, rest, w, at + repeats * unit * self.word_bytes)

    def _words(
        self, x: Memory, places: Sequence[Index], loads: Sequence[tuple[int, int]], w: Memory, at: Index
    ) -> None:
        flat = [(offset, words, index) for offset, words in loads for index in range(words)]
        loaded: dict[tuple[int, int], Loaded] = {}

        def pixel(p: int, offset: int, words: int) -> Loaded:
            if (p, offset) not in loaded:
                loaded[p, offset] = Loaded(T.bind(self._load(x, places[p] + offset, words)), words)
            return loaded[p, offset]

        for first in range(0, len(flat), self.terms):
            group = flat[first : first + self.terms]
            readers = [
                [self._weights(w, at + (first + t) * self.word_bytes + WORD * start) for start in self.starts]
                for t in range(len(group))
            ]
            for p in range(self.pixels):
                prepared: dict[int, list[Any]] = {}
                for v, lanes in enumerate(self.widths):
                    if lanes not in prepared:
                        prepared[lanes] = [
                            self.dot.prepare(pixel(p, offset, words), index, lanes) for offset, words, index in group
                        ]
                    terms = [(prepared[lanes][t], readers[t][v]) for t in range(len(group))]
                    place = p * len(self.widths) + v
                    self.sums[place] = self.dot.add(self.sums[place], terms, lanes)

    def _load(self, x: Memory, place: Index, words: int) -> Vector:
        if self.run.size >= WORD:
            return load(x, place, WORD * words)
        word: Any = T.int32(0)
        for byte in range(self.run.size):
            number = T.cast(T.reinterpret("uint8", load(x, place + byte)), "int32")
            word = word | T.shift_left(number, T.int32(8 * byte))
        return T.reinterpret("int8x4", word)

    def _weights(self, w: Memory, at: Index) -> Callable[[int, int], Vector]:
        found: dict[int, Vector] = {}

        def read(start: int, count: int) -> Vector:
            if start not in found:
                found[start] = T.bind(load(w, at + start, count))
            return found[start]

        return read

    def finish(
        self,
        scale: Memory,
        column: Index,
        valid: int,
        requantize: Requantize | None,
        epilogue: Epilogue,
        operands: Sequence[Memory],
        output: Memory,
        place: Callable[[Sequence[int], int, int], Index],
        output_strides: Sequence[int],
        target: Target,
    ) -> None:
        """Convert the sums, apply the epilogue and store the first `valid` columns.

        Args:
            column: place of the first column's scale.
            place: returns the address for strides at (pixel, column of the block); the last stride is the column's.
        """
        for first, lanes, parts in self._stores(valid, joined=requantize is not None):
            factor = T.bind(load(scale, column + first, lanes))
            for p in range(self.pixels):

                def read(operand: int, lanes: int, p: int = p, first: int = first) -> Vector:
                    strides = epilogue.operands[operand].strides
                    return load(operands[operand], place(strides, p, first), lanes, strides[-1])

                total = _join([self.sums.part(p * len(self.widths) + v, start, n) for v, start, n in parts], lanes)
                converted = convert(total, factor, requantize, lanes, target)
                value = evaluate(epilogue.expression, lanes, converted, read)
                store(output, place(output_strides, p, first), value, lanes, output_strides[-1])

    def _stores(self, valid: int, *, joined: bool) -> Iterator[tuple[int, int, list[tuple[int, int, int]]]]:
        """Yield (first column, lanes, parts) of stores of the first `valid` columns; a part is (register, lane, lanes).

        Full registers are joined up to four at a time: narrowing them together takes fewer instructions.
        """
        full = sum(start + width <= valid for start, width in zip(self.starts, self.widths, strict=True))
        even = full if joined and len(set(self.widths[:full])) == 1 else 0
        for v, count in pieces(even, 4):
            yield self.starts[v], count * self.widths[0], [(v + i, 0, self.widths[0]) for i in range(count)]
        for v in range(even, len(self.widths)):
            for start, lanes in pieces(min(self.widths[v], valid - self.starts[v]), self.widths[v]):
                yield self.starts[v] + start, lanes, [(v, start, lanes)]


def convert(total: Vector, scale: Vector, requantize: Requantize | None, lanes: int, target: Target) -> Vector:
    """Return int32 sums times float32 scales, as float32 or back in int8."""
    if requantize is None:
        return T.bind(_scaled(total, scale, lanes))
    return _narrow(_saturate(_rounded(total, scale, requantize, lanes, target), "int16", lanes), requantize, lanes)


def convert_interleaved(
    totals: Sequence[Vector], scales: Sequence[Vector], requantize: Requantize, lanes: int, target: Target
) -> Vector:
    """Return four registers of int32 sums, interleaved by parts of 16 bytes, as int8 in order."""
    pairs = zip(totals, scales, strict=True)
    whole = [_rounded(total, scale, requantize, lanes, target) for total, scale in pairs]
    if target.architecture != "x86_64":
        return _narrow(_saturate(_join(whole, 4 * lanes), "int16", 4 * lanes), requantize, 4 * lanes)
    level = {4: "sse2.packssdw.128", 8: "avx2.packssdw", 16: "avx512.packssdw.512"}[lanes]
    halves = [
        _moved(
            T.call_llvm_pure_intrin(lane_dtype("int16", 2 * lanes), f"llvm.x86.{level}", low, high),
            requantize,
            2 * lanes,
        )
        for low, high in (whole[:2], whole[2:])
    ]
    name = f"llvm.x86.{level.replace('packssdw', 'packsswb')}"
    return _bounded(T.call_llvm_pure_intrin(lane_dtype("int8", 4 * lanes), name, *halves), requantize, 4 * lanes)


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
    quarters = [tvm.tirx.Shuffle([steps], list(range(first, first + 4))) for first in range(0, lanes, 4)]
    return _join([T.bind(T.call_llvm_pure_intrin("int32x4", name, quarter)) for quarter in quarters], lanes)


def _join(vectors: Sequence[Vector], lanes: int) -> Vector:
    """Return vectors side by side in one."""
    return vectors[0] if len(vectors) == 1 else T.bind(tvm.tirx.Shuffle(list(vectors), list(range(lanes))))


def tile_cycles(dot: Dot, terms: int, words: float, pixels: int, widths: Sequence[int], target: Target) -> float:
    """Estimate cycles of a tile: `words` of every pixel, conversion, stores."""
    rate = max(1.0, target.fma_per_cycle / target.lanes())
    registers = pixels * len(widths)
    if target.architecture == "x86_64":
        word = _x86_word_cycles(dot, terms, words, pixels, widths, target, rate)
        # Narrowing four registers takes hardly more instructions than narrowing two.
        finish = sum({4: 20, 2: 11, 1: 8}[count] for _, count in pieces(len(widths), 4)) / (2 * rate)
        return words * word + pixels * (finish + 3) + 3
    multiplies = registers * dot.multiplies
    others = registers * dot.others / terms + pixels * dot.prepares
    loads = (pixels / dot.load_words + len(widths)) / (2 if rate > 1 else 1)
    latency = 4.0 if registers < 8 else 0.0
    word = max(multiplies / rate, (multiplies + others) / 2, loads, latency) + 0.04 * loads
    return words * word + registers * 6 + 10


def _x86_word_cycles(
    dot: Dot, terms: int, words: float, pixels: int, widths: Sequence[int], target: Target, rate: float
) -> float:
    """Estimate cycles of one word for a tile: multiplies, all vector instructions, loads, or the sums' latency."""
    registers, vectors = pixels * len(widths), len(widths)
    multiplies = registers * (dot.multiplies - (1 - 1 / terms))
    # Weights of a block that the first cache does not hold come at half the rate.
    weight_loads = vectors * (1 if words * WORD * sum(widths) < 0.9 * target.cache.l1_bytes else 2)
    loads = (pixels + weight_loads) / 2
    # Sums, words, weights that several pixels share, and what passes by.
    needed = registers + terms * (1 + (vectors if pixels > 1 else 0)) + dot.extra_registers - 1
    spilled = max(0, needed - target.vector_registers)
    work = max(multiplies / rate, (multiplies + registers * dot.others) / (2 * rate), loads, dot.latency)
    return work + 0.1 * pixels + 0.05 * spilled


def tile_counts(width: int, pixels: int) -> list[tuple[int, int]]:
    """Cut `width` pixels into as few tiles of at most `pixels` as can be, nearly equal ones: (pixels, tiles) each."""
    count = -(-width // pixels)
    wide = -(-width // count)
    full, rest = divmod(width, wide)
    return [(wide, full), (rest, 1)] if rest else [(wide, full)]


def tiles(dot: Dot, terms: int, columns: int, width: int, target: Target) -> Iterator[tuple[int, int]]:
    """Yield the (pixels, vectors) of register tiles that fit, for so many columns and at most `width` pixels."""
    for vectors in range(1, 1 + min(8, -(-columns // target.lanes()))):
        for pixels in range(1, 1 + min(width, pixels_that_fit(dot, vectors, target))):
            yield pixels, vectors


def pixels_that_fit(dot: Dot, vectors: int, target: Target) -> int:
    """Return the most pixels of a tile with `vectors` registers of columns."""
    # Several words of a pixel stay in a register while they are multiplied one by one.
    held = 1 if dot.load_words > 1 else 0
    return max(1, (target.vector_registers - dot.extra_registers - vectors) // (vectors + held))
