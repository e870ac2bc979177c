"""Group norm and instance norm where channels are neighbours in memory: channels are the lanes.

Sums are kept for each channel while the image passes by; only then are the channels of a group added up. One unit is
one image and as many groups as fill a few vectors.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from prunus.backends.kernels.affine import Parameter, read_inputs
from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, loop, split, store, when
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.rows import CHAINS, Partials, Sweep, store_after, stream_cycles
from prunus.backends.kernels.tiling import Columns, epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import Math
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target

# Vectors of channels that pass by at the same time; groups of more than that are rows of their own (`norm.py`).
_VECTORS = 4


@dataclass(frozen=True)
class ChannelNorm:
    """Problem. Strides are over (batch, *pixels, channel); weight and bias have one stride, the channel's."""

    epsilon: float
    batch: int
    groups: int
    channels: int
    pixels: tuple[int, ...]
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    epilogue: Epilogue

    @property
    def count(self) -> int:
        """Elements of one group."""
        return self.channels * math.prod(self.pixels)


@dataclass(frozen=True)
class ChannelNormKnob:
    """Way of computing: `groups` a unit, their channels in registers of `lanes`."""

    lanes: int
    groups: int


class ChannelNormalization(Defaults):
    """The family; see the module's docstring."""

    name = "channel_norm"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.group_norm.default)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        inputs = read_inputs(request)
        if isinstance(inputs, No):
            return inputs
        view, groups = inputs.reads[0], arguments(anchor).num_groups
        batch, channels = view.shape[:2]
        if view.strides[1] != 1 or math.prod(view.shape[2:]) == 1:
            return No("its channels are not neighbours in memory")
        if channels // groups >= _VECTORS * target.lanes():
            return No("its groups fill vectors of their own")
        views = (view, output, *request.operands)
        nest = collapse(view.shape[2:], [other.strides[2:] for other in views], sort_by=0)
        strides = [(v.strides[0], *over, v.strides[1]) for v, over in zip(views, nest.strides, strict=True)]
        layouts = zip(request.operands, strides[2:], strict=True)
        problem = ChannelNorm(
            epsilon=arguments(anchor).eps,
            batch=batch,
            groups=groups,
            channels=channels // groups,
            pixels=nest.sizes,
            input_strides=strides[0],
            output_strides=strides[1],
            weight=inputs.weight,
            bias=inputs.bias,
            epilogue=Epilogue(
                request.epilogue, tuple(OperandLayout(v.buffer.dtype, over) for v, over in layouts), output.buffer.dtype
            ),
        )
        return Match(problem, inputs.reads, request.outputs, request.operands, inputs.tensors, shares=(0,))

    def knobs(self, problem: ChannelNorm, target: Target) -> Sequence[ChannelNormKnob]:
        lanes = target.lanes()
        most = -(-_VECTORS * lanes // problem.channels)

        def vectors_a_channel(groups: int) -> float:
            return sum(map(len, _widths(groups * problem.channels, lanes))) / (groups * problem.channels)

        best = min(problem.groups, *sorted(range(max(1, most // 2), 2 * most), key=vectors_a_channel)[:1])
        return [ChannelNormKnob(lanes, groups) for groups in dict.fromkeys((best, -(-best // 2), problem.groups))]

    def units(self, problem: ChannelNorm, knob: ChannelNormKnob) -> int:
        return problem.batch * -(-problem.groups // knob.groups)

    def scratch_bytes(self, problem: ChannelNorm, knob: ChannelNormKnob) -> int:
        return 2 * 4 * knob.groups * problem.channels

    def estimate(self, problem: ChannelNorm, knob: ChannelNormKnob, target: Target) -> float:
        vectors = sum(map(len, _widths(knob.groups * problem.channels, knob.lanes)))
        elements = self.units(problem, knob) * vectors * math.prod(problem.pixels)
        passes = stream_cycles(elements, 1, 2.0, 3.0, target) + stream_cycles(elements, 1, 2.0, 2.0, target)
        groups = 8.0 * problem.batch * problem.groups * (problem.channels + 4)
        return passes + groups + epilogue_cycles(problem.epilogue, elements * knob.lanes, target)

    def emit(self, problem: ChannelNorm, knob: ChannelNormKnob, target: Target) -> Any:
        dtypes = ["float32"] * (1 + sum(parameter is not None for parameter in (problem.weight, problem.bias)))
        dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype, "float32"]
        return kernel(
            target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, target, memories).run(begin, end)
        )


def _columns(channels: int, lanes: int) -> Columns:
    return Columns(channels, lanes, _VECTORS, exact=True)


def _widths(channels: int, lanes: int) -> list[tuple[int, ...]]:
    """Return the widths of the registers of each block of channels."""
    columns = _columns(channels, lanes)
    return [columns.widths(tail) for tail in columns.kinds() for _ in range(1 if tail else columns.full)]


class _Emitter:
    """Writes the loops of one group norm. Scratch holds a mean for each channel, then a factor for each."""

    def __init__(self, problem: ChannelNorm, knob: ChannelNormKnob, target: Target, memories: list[Memory]) -> None:
        self.problem, self.knob, self.target, self.memories = problem, knob, target, memories
        self.x, self.y, self.scratch = memories[0], memories[-2], memories[-1]
        self.operands = memories[-2 - len(problem.epilogue.operands) : -2]
        self.factors = knob.groups * problem.channels

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one image and a block of groups."""
        problem, groups = self.problem, self.knob.groups
        full, rest = divmod(problem.groups, groups)
        with T.serial(begin, end) as unit:
            n, block = split(unit, (problem.batch, full + (rest > 0)))
            if full:
                with when(True if not rest else block < full):
                    self._block(n, T.bind(block * (groups * problem.channels)), groups)
            if rest:
                with when(True if not full else block >= full):
                    self._block(n, full * groups * problem.channels, rest)

    def _block(self, n: Any, channel: Any, groups: int) -> None:
        """Normalise `groups` groups from a first channel on."""
        problem, one = self.problem, Math("float32", 1)
        columns = _columns(groups * problem.channels, self.knob.lanes)

        self._gather(n, channel, columns, 0, lambda value, start, total, m: total + value)
        with self._groups(groups, 0) as (total, first):
            mean = T.bind(total * one(1 / problem.count))
            with loop(0, problem.channels) as i:
                store(self.scratch, first + i, mean)

        means = self.scratch

        def squares(value: Any, start: Any, total: Any, m: Math) -> Any:
            centred = T.bind(value - load(means, start, m.lanes))
            return m.fma(centred, centred, total)

        self._gather(n, channel, columns, self.factors, squares)
        with self._groups(groups, self.factors) as (total, first):
            variance = total * one(1 / problem.count)
            scale = T.bind(one(1) / one.llvm("llvm.sqrt", variance + one(problem.epsilon)))
            with loop(0, problem.channels) as i:
                factor = scale
                if problem.weight is not None:
                    factor = scale * self._parameter(problem.weight, channel + first + i, 1)
                store(self.scratch, self.factors + first + i, factor)
        self._finish(n, channel, columns)

    def _vectors(self, columns: Columns, body: Callable[[Any, Sequence[int], list[int]], None]) -> None:
        """Call `body` for each block of columns with its start, its widths and the starts of its vectors."""
        for tail in columns.kinds():
            widths = columns.widths(tail)
            with loop(0, 1 if tail else columns.full) as index:
                start = T.bind(((columns.full if tail else 0) + index) * columns.block)
                body(start, widths, [sum(widths[:v]) for v in range(len(widths))])

    def _gather(
        self, n: Any, channel: Any, columns: Columns, into: int, compute: Callable[[Any, Any, Any, Math], Any]
    ) -> None:
        """Store for each channel the sum over the pixels of what `compute` adds to it."""
        problem = self.problem

        def block(start: Any, widths: Sequence[int], starts: list[int]) -> None:
            steps, count = Sweep(problem.pixels, 1, max(1, CHAINS // len(widths))), len(widths)
            chains = len(steps.widths)
            sums = Partials("sum", list(widths) * chains, self.target)

            def visit(indices: list[Any], _: int, chain: int) -> None:
                at = T.bind(address((n, *indices, channel + start), problem.input_strides))
                for v, lanes in enumerate(widths):
                    value, slot = T.bind(load(self.x, at + starts[v], lanes)), chain * count + v
                    sums[slot] = compute(value, start + starts[v], sums[slot], Math("float32", lanes))

            steps.run(visit)
            for v, lanes in enumerate(widths):
                total = sums.merged(range(v, count * chains, count))
                store(self.scratch, into + start + starts[v], total, lanes)

        self._vectors(columns, block)

    @contextmanager
    def _groups(self, groups: int, sums: int) -> Iterator[tuple[Any, Any]]:
        """Loop over groups; yields the sum over its channels and its first channel, counted from the block's."""
        channels = self.problem.channels
        with loop(0, groups) as group:
            first = T.bind(group * channels)
            total = Registers(1, 1)
            total[0] = load(self.scratch, sums + first)
            if channels > 1:
                with loop(1, channels) as i:
                    total[0] = total[0] + load(self.scratch, sums + first + i)
            yield T.bind(total[0]), first

    def _finish(self, n: Any, channel: Any, columns: Columns) -> None:
        problem = self.problem

        def block(start: Any, widths: Sequence[int], starts: list[int]) -> None:
            lines = []
            for v, lanes in zip(starts, widths, strict=True):
                mean = T.bind(load(self.scratch, start + v, lanes))
                factor = T.bind(load(self.scratch, self.factors + start + v, lanes))
                bias = T.bind(self._parameter(problem.bias, channel + start + v, lanes)) if problem.bias else None
                lines.append((v, lanes, mean, factor, bias))

            def visit(indices: list[Any], _: int, __: int) -> None:
                for v, lanes, mean, factor, bias in lines:
                    place = (n, *indices, channel + start + v)
                    centred = load(self.x, address(place, problem.input_strides), lanes) - mean
                    value = centred * factor if bias is None else Math("float32", lanes).fma(centred, factor, bias)
                    store_after(problem.epilogue, self.operands, self.y, value, place, problem.output_strides, lanes)

            Sweep(problem.pixels, 1, 1).run(visit)

        self._vectors(columns, block)

    def _parameter(self, which: Parameter, channel: Any, lanes: int) -> Any:
        (stride,) = which.strides
        return load(self.memories[which.position], channel * stride, lanes, stride)
