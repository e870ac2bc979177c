"""Integer depthwise convolution with the instructions of `integer_dot`: four kernel rows of one column are a word.

For each output row and block of channels, the input lines are interleaved into words first, with padding and all:

    lines     a0 a1 a2 ...          words     a0 b0 c0 d0  a1 b1 c1 d1  a2 b2 c2 d2 ...
              b0 b1 b2 ...
              c0 c1 c2 ...          (a zero weight stands for rows that the kernel lacks)
              d0 d1 d2 ...

and then multiplied, a word for each kernel column. Registers are interleaved in parts of 16 bytes, as x86 does it, so
16 channels come to lie as four times four; weights, biases and scales are put into registers in that order, and
narrowing undoes it. They stay there while the rows of one block of channels pass by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels import integer_dot, nibbles
from prunus.backends.kernels.emit import (
    Index,
    Memory,
    Vector,
    address,
    bind,
    evaluate,
    kernel,
    load,
    loop,
    split,
    store,
)
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.integer_dot import WORD, Weights
from prunus.backends.kernels.integer_tile import Run, pairs, start_of, tile_counts, wrap_int32
from prunus.backends.kernels.integer_weights import depthwise_words
from prunus.backends.kernels.masked import has_masks, load_first, store_first
from prunus.backends.kernels.quantized_depthwise import IntegerDepthwise, QuantizedDepthwise
from prunus.backends.kernels.ranking import INSTRUCTION_BYTES, ranked
from prunus.backends.kernels.requantize import convert_interleaved
from prunus.backends.kernels.tiling import epilogue_cycles
from prunus.backends.kernels.tir import T, tvm
from prunus.backends.kernels.vector_math import join, lane_dtype, splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.targets import Target

# Channels that one 16-byte part of a register holds.
_PART = 16
# Registers of int32 that hold as many channels as one register of int8.
_REGISTERS = 4
# More pixels at a time make more code and no speed.
_MOST_PIXELS = 6
# Of the second cache: what the lines may take that are read once for each block of channels.
_CACHE_SHARE = 0.25


@dataclass(frozen=True)
class DepthwiseWords:
    """Problem.

    Attributes:
        layer: what is computed.
        dot, terms: the instructions, and words that they add up before widening.
        paired: weights are stored two a byte.
    """

    layer: QuantizedDepthwise
    dot: str
    terms: int
    paired: bool

    @property
    def column_words(self) -> int:
        """Words of one kernel column."""
        return -(-self.layer.rows.kernel // WORD)

    @property
    def run(self) -> Run:
        """Return the words of all taps of a channel, as if they were one run."""
        return Run(self.layer.columns.kernel * self.column_words * WORD, self.paired)


@dataclass(frozen=True)
class DepthwiseWordsKnob:
    """Way of computing: `pixels` by four registers of `lanes` int32 at a time.

    Four registers hold a block of channels. The last block repeats some channels of the one before it where the
    channels are no multiple of a block. If there is only one and it is larger than the channels, the rest is masked.
    """

    lanes: int
    pixels: int

    @property
    def block(self) -> int:
        return _REGISTERS * self.lanes


class IntegerDepthwiseWords(Defaults):
    """The family; see the module's docstring."""

    name = "quantized_depthwise_words"
    _plain = IntegerDepthwise()

    def claims(self, anchor: Node) -> bool:
        return self._plain.claims(anchor)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return self._plain.wants(anchor, position, view)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return self._plain.order(anchor, inputs, rank)

    def match(self, request: Request, target: Target) -> Match | No:
        answer = self._plain.match(request, target)
        if isinstance(answer, No):
            return answer
        layer: QuantizedDepthwise = answer.problem
        if layer.channels < _PART:
            return No(f"fewer than {_PART} channels")
        if layer.requantize is None:
            return No("its result is not int8")
        dot, words = integer_dot.choices(target)[0], depthwise_words(answer.tensors[0])
        terms = dot.terms(words)
        if not terms or dot.name not in ("vnni", "unsigned bytes", "signed dot"):
            return No("its weights or the processor's instructions do not suit")
        # Channels that two blocks share are computed twice, so what they read must not be overwritten.
        shares = answer.shares if layer.channels % (_REGISTERS * target.lanes()) == 0 else ()
        problem = DepthwiseWords(layer, dot.name, terms, pairs(words, len(words)))
        return Match(problem, answer.reads, answer.outputs, answer.operands, answer.tensors, answer.macs, shares)

    def knobs(self, problem: DepthwiseWords, target: Target) -> Sequence[DepthwiseWordsKnob]:
        width, most = problem.layer.columns.output_size, target.lanes()
        strides = {operand.strides[-1] for operand in problem.layer.epilogue.operands}
        # A block may be larger than all channels where the rest of it can be left out.
        room = 2 if has_masks(target) and strides <= {0, 1} else 1
        lanes = [
            each
            for each in (most, most // 2, most // 4)
            if each >= WORD and _REGISTERS * each < room * problem.layer.channels + (room == 1)
        ]
        found = [
            DepthwiseWordsKnob(each, pixels) for each in lanes for pixels in range(1, 1 + min(_MOST_PIXELS, width))
        ]
        return ranked(found, lambda knob: self.estimate(problem, knob, target), lambda knob: _bytes(problem, knob))

    def pack(
        self, problem: DepthwiseWords, knob: DepthwiseWordsKnob, tensors: Sequence[torch.Tensor]
    ) -> tuple[np.ndarray, ...]:
        layer, (weight, scale, *rest) = problem.layer, tensors
        words = depthwise_words(weight)
        padding = layer.zero_point + (128 if integer_dot.by_name(problem.dot).flips else 0)
        bias = start_of(rest, layer.channels, layer.requantize)
        start = wrap_int32(bias - padding * words.astype(np.int64).sum(axis=(0, 2)))
        packed = nibbles.pack_pairs(words.reshape(1, len(words), -1)) if problem.paired else words
        return packed.reshape(-1), start, scale.numpy()

    def units(self, problem: DepthwiseWords, knob: DepthwiseWordsKnob) -> int:
        return problem.layer.batch * problem.layer.rows.output_size

    def scratch_bytes(self, problem: DepthwiseWords, knob: DepthwiseWordsKnob) -> int:
        return _line_columns(problem.layer) * problem.column_words * WORD * knob.block

    def estimate(self, problem: DepthwiseWords, knob: DepthwiseWordsKnob, target: Target) -> float:
        layer, dot = problem.layer, integer_dot.by_name(problem.dot)
        # Narrower registers are no slower where two pipes share the widest.
        rate = min(2.0, max(1.0, target.fma_per_cycle / knob.lanes))
        ports = 2 * rate if target.architecture == "x86_64" else 2.0
        words = problem.run.words
        multiply = max(dot.multiplies / rate, (dot.multiplies + dot.others / problem.terms) / ports)
        interleave = problem.column_words * (12 / ports + _REGISTERS)
        tiles = tile_counts(layer.columns.output_size, knob.pixels)
        pixel = _REGISTERS * (words * multiply + 6 / ports)
        line = _line_columns(layer) * interleave + sum(count * (pixels * pixel + 10) for pixels, count in tiles)
        cycles = len(_starts(problem, knob)) * line
        elements = layer.batch * layer.channels * layer.rows.output_size * layer.columns.output_size
        return cycles * layer.batch * layer.rows.output_size + epilogue_cycles(layer.epilogue, elements, target)

    def emit(self, problem: DepthwiseWords, knob: DepthwiseWordsKnob, target: Target) -> Any:
        epilogue = problem.layer.epilogue
        dtypes = ["int8", "int8", "int32", "float32"]
        dtypes += [*(operand.dtype for operand in epilogue.operands), epilogue.dtype, "int8"]
        return kernel(
            target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, target, memories).run(begin, end)
        )


def _starts(problem: DepthwiseWords, knob: DepthwiseWordsKnob) -> list[int]:
    """Return the first channel of each block."""
    channels = problem.layer.channels
    return [max(0, min(start, channels - knob.block)) for start in range(0, channels, knob.block)]


def _rows_at_a_time(layer: QuantizedDepthwise, target: Target) -> int:
    """Return how many output rows are computed for one block of channels after the other: their input stays cached."""
    line = layer.rows.stride * layer.columns.input_size * layer.channels
    return max(1, int(_CACHE_SHARE * target.cache.l2_bytes) // line)


def _bytes(problem: DepthwiseWords, knob: DepthwiseWordsKnob) -> float:
    """Estimate the bytes of code and of weights."""
    layer, dot = problem.layer, integer_dot.by_name(problem.dot)
    words = problem.run.words
    weights = layer.channels * WORD * problem.run.stored_words
    pixel = _REGISTERS * words * (1 + dot.multiplies + dot.others / problem.terms) + 30
    pixels = sum(pixels for pixels, _ in tile_counts(layer.columns.output_size, knob.pixels))
    # Lines are interleaved by two loops, inside the input and at its border, after two that write padding.
    return weights + INSTRUCTION_BYTES * (pixels * pixel + problem.column_words * 80 + 100)


def _line_columns(layer: QuantizedDepthwise) -> int:
    """Return how many input columns an output row reads, those of the padding included."""
    columns = layer.columns
    return (columns.output_size - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1


class _Emitter:
    """Writes the loops of one depthwise convolution."""

    def __init__(
        self, problem: DepthwiseWords, knob: DepthwiseWordsKnob, target: Target, memories: list[Memory]
    ) -> None:
        self.problem, self.layer, self.knob, self.target = problem, problem.layer, knob, target
        self.dot = integer_dot.by_name(problem.dot)
        self.x, self.w, self.bias, self.scale = memories[:4]
        self.operands, self.y, self.words = memories[4:-2], memories[-2], memories[-1]
        self.valid = min(knob.block, problem.layer.channels)

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one output row."""
        starts, size = _starts(self.problem, self.knob), _rows_at_a_time(self.layer, self.target)
        units = self.layer.batch * self.layer.rows.output_size
        with loop(0, 1 if units <= size else (end - begin + (size - 1)) // size) as portion:
            first = T.bind(begin + portion * size)
            last = end if units <= size else T.bind(T.min(first + size, end))
            with loop(0, len(starts)) as block:
                channel = 0 if len(starts) == 1 else T.bind(T.min(block * self.knob.block, starts[-1]))
                weights, bias, scale = self._constants(channel)
                with T.serial(first, last) as unit:
                    n, row = split(unit, (self.layer.batch, self.layer.rows.output_size))
                    self._interleave(n, row, channel)
                    self._multiply(n, row, channel, weights, bias, scale)

    def _constants(self, channel: Index) -> tuple[list[list[Vector]], list[Vector], list[Vector]]:
        """Return the weights of a block by register and word, and the biases and scales by register."""
        channels, run = self.layer.channels, self.problem.run

        def word(memory: Memory, first: Index, place: int, width: int) -> Vector:
            """Load the numbers of four channels; zeros where there are fewer."""
            if place >= self.valid:
                return splat(0, memory.dtype, WORD * width)
            count = min(WORD, self.valid - place)
            return T.bind(load_first(memory, (first + place) * width, WORD * width, count * width))

        def registers(memory: Memory, first: Index, width: int) -> list[Vector]:
            """Load a block's numbers, `width` a channel, in the order of interleaved words."""
            places = [range(k * WORD, self.knob.block, _PART) for k in range(_REGISTERS)]
            return [
                join([word(memory, first, place, width) for place in each], self.knob.lanes * width) for each in places
            ]

        def word_registers(word: int) -> list[Vector]:
            loaded = registers(self.w, run.place(word) * channels + channel, WORD)
            if not self.problem.paired:
                return loaded
            return [nibbles.unpack(pair, WORD * self.knob.lanes, upper=word % 2 == 1) for pair in loaded]

        weights = [word_registers(word) for word in range(run.words)]
        return (
            [list(register) for register in zip(*weights, strict=True)],
            registers(self.bias, channel, 1),
            registers(self.scale, channel, 1),
        )

    def _interleave(self, n: Index, row: Index, channel: Index) -> None:
        """Write the words of one output row."""
        layer = self.layer
        first = -layer.columns.padding
        begin = min(max(0, -first), _line_columns(layer))
        end = max(begin, min(_line_columns(layer), layer.columns.input_size - first))
        for start, stop in ((0, begin), (end, _line_columns(layer))):
            if start < stop:
                with loop(start, stop) as column:
                    for word in range(self.problem.column_words):
                        self._store_words(column, word, [self._padding()] * _REGISTERS)
        if begin == end:
            return
        source = T.bind(address((n,), layer.input_strides[:1]) + channel + first * layer.input_strides[2])
        lines = [self._line(source, row, i) for i in range(layer.rows.kernel)]
        with loop(begin, end) as column:
            taps = [line(column) for line in lines]
            for word in range(self.problem.column_words):
                four = taps[word * WORD : (word + 1) * WORD]
                four += [four[-1]] * (WORD - len(four))
                self._store_words(column, word, _interleave_lines(four, self.knob.lanes))

    def _line(self, source: Index, row: Index, i: int) -> Callable[[Index], Vector]:
        """Return what loads the channels of one pixel under kernel row i; the zero point outside the input.

        Lines outside are read where the input ends and masked, so that one loop does for all rows.
        """
        layer, count = self.layer, self.knob.block
        offset, size = i * layer.rows.dilation - layer.rows.padding, layer.rows.input_size
        line = row * layer.rows.stride + offset
        sign = splat(-128 if self.dot.flips else 0, "int8", count)
        whole = offset >= 0 and (layer.rows.output_size - 1) * layer.rows.stride + offset < size
        if not whole:
            line = T.bind(line)
            inside = T.And(line >= 0, line < size)
            keep = bind(T.broadcast(T.Select(inside, T.int8(-1), T.int8(0)), count), "int8", count)
            sign = bind(T.Select(inside, sign, self._padding()), "int8", count)
            line = T.max(0, T.min(line, size - 1))
        start = T.bind(source + line * layer.input_strides[1])

        def taps(column: Index) -> Vector:
            value = load_first(self.x, start + column * layer.input_strides[2], count, self.valid)
            if not whole:
                value = value & keep
            return T.bind(value ^ sign if self.dot.flips or not whole else value)

        return taps

    def _padding(self) -> Vector:
        zero = self.layer.zero_point ^ -128 if self.dot.flips else self.layer.zero_point
        return splat(zero, "int8", self.knob.block)

    def _words_at(self, column: Index, word: int) -> Index:
        return (column * self.problem.column_words + word) * (WORD * self.knob.block)

    def _store_words(self, column: Index, word: int, registers: Sequence[Vector]) -> None:
        size = WORD * self.knob.lanes
        for k, vector in enumerate(registers):
            store(self.words, self._words_at(column, word) + k * size, vector, size)

    def _multiply(
        self,
        n: Index,
        row: Index,
        channel: Index,
        weights: Sequence[Sequence[Vector]],
        bias: Sequence[Vector],
        scale: Sequence[Vector],
    ) -> None:
        """Compute one output row of one block of channels from its words."""
        start = 0
        for pixels, count in tile_counts(self.layer.columns.output_size, self.knob.pixels):
            with loop(0, count) as tile:
                first = T.bind(start + tile * pixels)
                # Register by register, so that few words and weights are held at a time.
                totals = [self._totals(first, pixels, k, weights[k], bias[k]) for k in range(_REGISTERS)]
                for p in range(pixels):
                    self._finish((n, row, first + p, channel), [total[p] for total in totals], scale)
            start += count * pixels

    def _finish(self, place: tuple[Index, ...], totals: Sequence[Vector], scale: Sequence[Vector]) -> None:
        """Convert the sums of one pixel, apply the epilogue and store."""
        layer = self.layer
        assert layer.requantize is not None

        def read(operand: int, lanes: int) -> Vector:
            strides = layer.epilogue.operands[operand].strides
            return load_first(self.operands[operand], address(place, strides), lanes, self.valid, strides[-1])

        value = convert_interleaved(totals, scale, layer.requantize, self.knob.lanes, self.target)
        value = evaluate(layer.epilogue.expression, self.knob.block, value, read)
        store_first(self.y, address(place, layer.output_strides), value, self.knob.block, self.valid)

    def _totals(self, first: Index, pixels: int, k: int, weights: Sequence[Vector], bias: Vector) -> list[Vector]:
        """Return the sums of register k of each pixel."""
        layer, lanes = self.layer, self.knob.lanes
        taps = [(j, word) for j in range(layer.columns.kernel) for word in range(self.problem.column_words)]

        def word(p: int, j: int, word: int) -> Vector:
            column = (first + p) * layer.columns.stride + j * layer.columns.dilation
            return T.bind(load(self.words, self._words_at(column, word) + k * WORD * lanes, WORD * lanes))

        totals = []
        for p in range(pixels):
            total = bias
            terms = [(word(p, *place), _held(weight)) for place, weight in zip(taps, weights, strict=True)]
            for start in range(0, len(terms), self.problem.terms):
                total = self.dot.add(total, terms[start : start + self.problem.terms], lanes)
            totals.append(T.bind(total))
        return totals


def _held(vector: Vector) -> Weights:
    """Stand for a load of what is in a register."""
    return lambda start, size: vector


def _interleave_lines(lines: Sequence[Vector], lanes: int) -> list[Vector]:
    """Return the bytes of four lines as words of four: in each part of 16 bytes, four times four channels."""
    count = _REGISTERS * lanes
    zipped = [_zip(lines[a], lines[b], "int8", count) for a, b in ((0, 1), (2, 3))]
    halves = [
        [T.reinterpret(lane_dtype("int16", count // 2), half) for half in pair] for pair in zip(*zipped, strict=True)
    ]
    words = [word for low, high in halves for word in _zip(low, high, "int16", count // 2)]
    return [T.bind(T.reinterpret(lane_dtype("int8", count), word)) for word in words]


def _zip(left: Vector, right: Vector, dtype: str, lanes: int) -> tuple[Vector, Vector]:
    """Interleave two vectors, each part of 16 bytes by itself: the lower halves, the upper halves."""
    part = _PART if dtype == "int8" else _PART // 2

    def half(offset: int) -> Vector:
        places = [
            side * lanes + start + offset + i
            for start in range(0, lanes, part)
            for i in range(part // 2)
            for side in (0, 1)
        ]
        return T.bind(tvm.tirx.Shuffle([left, right], places))

    return half(0), half(part // 2)
