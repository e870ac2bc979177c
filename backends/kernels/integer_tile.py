"""Register tiles of integer kernels: the walk over input channels, packing, and storing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from prunus.backends.kernels import nibbles
from prunus.backends.kernels.emit import Index, Memory, Registers, Vector, evaluate, load, loop, pieces
from prunus.backends.kernels.family import Epilogue
from prunus.backends.kernels.integer_dot import WORD, Dot, Loaded, Weights
from prunus.backends.kernels.integer_store import groups
from prunus.backends.kernels.masked import load_first, store_first, store_pieces
from prunus.backends.kernels.ranking import INSTRUCTION_BYTES
from prunus.backends.kernels.requantize import Requantize
from prunus.backends.kernels.tiling import Columns, with_weights
from prunus.backends.kernels.tir import T
from prunus.targets import Target

_LINE_BYTES = 64
_AHEAD = 4


@dataclass(frozen=True)
class Run:
    """Input bytes that lie side by side and are multiplied word by word.

    The last word of a run that is no multiple of four starts early, with zero weights where it repeats channels, so
    that nothing beyond the run is read. A run shorter than a word is put together from its bytes.

    Attributes:
        size: bytes.
        paired: weights fit four bits, and two words share their bytes (`nibbles`).
    """

    size: int
    paired: bool = False

    @property
    def words(self) -> int:
        return -(-self.size // WORD)

    @property
    def stored_words(self) -> int:
        """Words whose bytes its weights take."""
        return -(-self.words // 2) if self.paired else self.words

    def place(self, word: int) -> int:
        """Return how many stored words lie in front of a word's weights."""
        return word // 2 if self.paired else word

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


def pairs(weights: np.ndarray, words: int) -> bool:
    """Tell whether weights are stored two a byte: where they fit, and an output has more than one word of them."""
    return words > 1 and nibbles.fit(weights)


def pack_weights(weights: np.ndarray, columns: Columns, dot: Dot, run: Run) -> np.ndarray:
    """Return weights (words, outputs, 4) as kernels read them: by blocks, runs, words, registers, parts, lanes."""
    blocks = []
    for block in range(columns.blocks):
        start, registers = block * columns.block, []
        for width in columns.widths(tail=block == columns.full):
            piece = weights[:, start : start + width]
            piece = np.pad(piece, [(0, 0), (0, width - piece.shape[1]), (0, 0)])
            registers += [piece[..., list(part)].reshape(len(piece), -1) for part in dot.parts]
            start += width
        words = np.concatenate(registers, axis=1)
        if run.paired:
            words = nibbles.pack_pairs(words.reshape(-1, run.words, words.shape[1]))
        blocks.append(words.reshape(-1))
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
        self.starts = _starts(self.widths)
        self.pixels = pixels
        self.sums = Registers(pixels * len(self.widths), list(self.widths) * pixels, "int32")

    @property
    def word_bytes(self) -> int:
        """Bytes of weights of one stored word for all registers."""
        return WORD * sum(self.widths)

    def fill(self, bias: Sequence[Vector]) -> None:
        """Start all pixels from one row of sums."""
        for p in range(self.pixels):
            for v in range(len(self.widths)):
                self.sums[p * len(self.widths) + v] = bias[v]

    def accumulate(self, x: Memory, places: Sequence[Index], w: Memory, at: Index) -> None:
        """Add one run of every pixel: inputs from `places`, weights from `at`."""
        most = self.dot.load_words
        unit = _round_words(self.dot, self.terms, self.run)
        repeats = self.run.size // WORD // unit
        if repeats:
            with loop(0, repeats) as i:
                moved = [place + i * (unit * WORD) for place in places]
                loads = [(start * WORD, words) for start, words in pieces(unit, most)]
                self._words(x, moved, loads, w, at + i * (self.run.place(unit) * self.word_bytes))
        rest = list(self.run.loads(repeats * unit, most))
        if rest:
            self._words(x, places, rest, w, at + self.run.place(repeats * unit) * self.word_bytes)

    def _words(
        self, x: Memory, places: Sequence[Index], loads: Sequence[tuple[int, int]], w: Memory, at: Index
    ) -> None:
        """Add words that are loaded from `places`."""
        flat = [(offset, words, index) for offset, words in loads for index in range(words)]
        loaded: dict[tuple[int, int], Loaded] = {}

        def pixel(p: int, offset: int, words: int) -> Loaded:
            if (p, offset) not in loaded:
                loaded[p, offset] = Loaded(T.bind(self._load(x, places[p] + offset, words)), words)
            return loaded[p, offset]

        for first in range(0, len(flat), self.terms):
            group = flat[first : first + self.terms]
            readers = [
                [
                    self._weights(w, at, first + t, start, lanes)
                    for start, lanes in zip(self.starts, self.widths, strict=True)
                ]
                for t in range(len(group))
            ]
            prepared: dict[tuple[int, int], list[Any]] = {}
            for p, v in self._order():
                lanes, place = self.widths[v], p * len(self.widths) + v
                if (p, lanes) not in prepared:
                    prepared[p, lanes] = [
                        self.dot.prepare(pixel(p, offset, words), index, lanes) for offset, words, index in group
                    ]
                terms = [(prepared[p, lanes][t], readers[t][v]) for t in range(len(group))]
                self.sums[place] = self.dot.add(self.sums[place], terms, lanes)

    def _order(self) -> Iterator[tuple[int, int]]:
        """Yield pixels and registers so that what is held meanwhile is little: words of few pixels, or few weights."""
        if self.pixels < len(self.widths):
            yield from ((p, v) for v in range(len(self.widths)) for p in range(self.pixels))
        else:
            yield from product(range(self.pixels), range(len(self.widths)))

    def _load(self, x: Memory, place: Index, words: int) -> Vector:
        if self.run.size >= WORD:
            return load(x, place, WORD * words)
        word: Any = T.int32(0)
        for byte in range(self.run.size):
            number = T.cast(T.reinterpret("uint8", load(x, place + byte)), "int32")
            word = word | T.shift_left(number, T.int32(8 * byte))
        return T.reinterpret("int8x4", word)

    def _weights(self, w: Memory, at: Index, word: int, start: int, lanes: int) -> Weights:
        """Return what reads the weights of one word and one register, the one whose first column is `start`."""
        place = at + self.run.place(word) * self.word_bytes + WORD * start
        found: dict[int, Vector] = {}

        def read(offset: int, count: int) -> Vector:
            if offset not in found:
                found[offset] = T.bind(load(w, place + offset, count))
                if self.run.paired:
                    found[offset] = nibbles.unpack(found[offset], count, upper=word % 2 == 1)
            return found[offset]

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
        for group in groups(self.widths, valid, target, narrows=requantize is not None):
            scales = group.load_scales(scale, column)
            for p in range(self.pixels):
                totals = [self.sums.part(p * len(self.widths) + v, start, n) for v, start, n in group.parts]
                converted = group.convert(totals, scales, requantize, target)
                for first, value, lanes, count in group.stores(converted, epilogue, target):

                    def read(operand: int, lanes: int, p: int = p, first: int = first, count: int = count) -> Vector:
                        strides = epilogue.operands[operand].strides
                        return load_first(operands[operand], place(strides, p, first), lanes, count, strides[-1])

                    result, at = evaluate(epilogue.expression, lanes, value, read), place(output_strides, p, first)
                    # The output may lie where an operand does, and what was written a moment ago under a mask delays
                    # reading beside it.
                    if count < lanes and epilogue.operands:
                        store_pieces(output, at, result, lanes, count)
                    else:
                        store_first(output, at, result, lanes, count)


def _round_words(dot: Dot, terms: int, run: Run) -> int:
    """Return the words that one round of the loop over a run adds."""
    return max(dot.load_words, terms, 2 if run.paired else 1)


def _starts(widths: Sequence[int]) -> list[int]:
    return [sum(widths[:v]) for v in range(len(widths))]


def tile_bytes(
    dot: Dot, terms: int, run: Run, pixels: int, widths: Sequence[int], valid: int, target: Target, *, narrows: bool
) -> float:
    """Estimate the code of a tile: a round of its loop, what is left over, conversion, stores.

    Args:
        valid: columns that are stored.
        narrows: results are int8.
    """
    once = _round_words(dot, terms, run)
    unrolled = min(run.words, once + run.words % once)
    stores = sum(1 for _ in groups(widths, valid, target, narrows=narrows))
    multiply = len(widths) * (dot.multiplies + dot.others) + 1
    weights = 1 + (nibbles.UNPACK_INSTRUCTIONS if run.paired else 0)
    instructions = 20 + len(widths) * unrolled * weights + pixels * (unrolled * multiply + 3 * len(widths) + 4 * stores)
    return INSTRUCTION_BYTES * instructions


def tile_cycles(
    dot: Dot, terms: int, run: Run, runs: float, pixels: int, widths: Sequence[int], target: Target
) -> float:
    """Estimate cycles of a tile: so many runs of every pixel, conversion, stores."""
    rate, words = max(1.0, target.fma_per_cycle / target.lanes()), runs * run.words
    unpacking = len(widths) * nibbles.UNPACK_INSTRUCTIONS if run.paired else 0.0
    registers = pixels * len(widths)
    word_bytes = WORD * sum(widths)
    if target.architecture == "x86_64":
        word = _x86_word_cycles(dot, terms, pixels, widths, unpacking, target, rate)
        together = groups(widths, sum(widths), target, narrows=True)
        finish = sum(4 * len(group.parts) + 4 for group in together) / (2 * rate)
        word = with_weights(word, word_bytes, words * word_bytes, target)
        return words * word + pixels * (finish + 3) + 3
    multiplies = registers * dot.multiplies
    others = registers * dot.others / terms + pixels * dot.prepares + unpacking
    loads = (pixels / dot.load_words + len(widths)) / (2 if rate > 1 else 1)
    latency = 4.0 if registers < 8 else 0.0
    word = max(multiplies / rate, (multiplies + others) / 2, loads, latency) + 0.04 * loads + 0.1 * unpacking
    return words * with_weights(word, word_bytes, words * word_bytes, target) + registers * 6 + 10


def _x86_word_cycles(
    dot: Dot, terms: int, pixels: int, widths: Sequence[int], unpacking: float, target: Target, rate: float
) -> float:  # fmt: skip
    """Estimate cycles of one word for a tile: multiplies, all vector instructions, loads, or the sums' latency."""
    registers, vectors = pixels * len(widths), len(widths)
    multiplies = registers * (dot.multiplies - (1 - 1 / terms))
    loads = (pixels + vectors) / 2
    # Sums, words, what several pixels or registers share, and what passes by.
    needed = registers + terms * (1 + (min(vectors, pixels) if pixels > 1 else 0)) + dot.extra_registers - 1
    # Where a tile is one register wide, LLVM reads pixels ahead of their one multiply. Registers of 64 bytes that it
    # spills for that lie across two lines of the cache, as stacks are aligned to 16.
    narrow = vectors == 1 and widths[0] * 4 == _LINE_BYTES
    spilled = max(0, needed + (_AHEAD if narrow else 0) - target.vector_registers)
    instructions = multiplies + registers * dot.others + unpacking
    work = max(multiplies / rate, instructions / (2 * rate), loads, dot.latency)
    return work + 0.1 * (pixels + unpacking) + (0.5 if narrow else 0.05) * spilled


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
