"""How processors multiply int8 by int8 and add up in int32: one class for each kind of instruction.

All take input channels four at a time, a "word". A word of a pixel is repeated in every lane and multiplied with the
weights of as many output channels, so that every lane ends with the sum of one output channel:

sums[lane] += x[0] * w[lane][0] + x[1] * w[lane][1] + x[2] * w[lane][2] + x[3] * w[lane][3]

Some instructions want unsigned inputs: kernels copy them with the sign bit flipped, which adds 128 to each, and the
bias takes 128 times the weights back. Some add up in int16 first: how many words fit depends on the weights, which are
looked at.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from prunus.backends.kernels.emit import Vector
from prunus.backends.kernels.tir import T, tvm
from prunus.backends.kernels.vector_math import lane_dtype, splat
from prunus.targets import Target

WORD = 4
"""Input channels that are multiplied at a time."""

# Words that may be added up in int16, most first. Beyond four, on most networks widening costs less than what longer
# rounds spill, and their code is twice as large.
_TERMS = (4, 2, 1)


@dataclass(frozen=True)
class Loaded:
    """`words` neighbouring words of one pixel in a register, as int8 lanes."""

    vector: Vector
    words: int

    def word(self, index: int) -> Vector:
        """Return one word as an int32 scalar."""
        if self.words == 1:
            return T.reinterpret("int32", self.vector)
        return tvm.tirx.Shuffle([T.reinterpret(lane_dtype("int32", self.words), self.vector)], [index])

    def pair(self, index: int) -> Vector:
        """Return two channels as an int16 scalar."""
        return tvm.tirx.Shuffle([T.reinterpret(lane_dtype("int16", 2 * self.words), self.vector)], [index])


Weights = Callable[[int, int], Vector]
"""Loads the weights of one word and one register of sums: bytes from `start`, so many."""


class Dot(ABC):
    """One kind of instruction.

    Attributes:
        name: what problems call it.
        flips: inputs are unsigned numbers, 128 larger.
        parts: the order of a word's weights for a register of lanes: for each part its channels, lane after lane.
        multiplies, others: vector instructions for one register of sums and one word: on the multiplier, on any port.
        prepares: instructions for one word of one pixel.
        load_words: most words of a pixel that one load should fetch.
        extra_registers: registers for constants and what passes by, beside sums and weights.
        latency: cycles until a sum can be added to again.
        aim: words to be added up before widening, if weights can still be chosen.
    """

    name: str
    flips = False
    parts: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3),)
    multiplies = 1.0
    others = 0.0
    prepares = 0.0
    load_words = 1
    extra_registers = 1
    latency = 1.0
    aim = 1

    def terms(self, weights: np.ndarray) -> int:
        """Return how many words may be added up before widening; 0 where the weights are too large for that.

        Args:
            weights: (..., words, output channels, 4), in the order in which words pass by.
        """
        return next((terms for terms in _TERMS if self.take(weights, terms).all()), 0)

    def take(self, weights: np.ndarray, terms: int) -> np.ndarray:
        """Tell for each output channel whether so many words may be added up before widening."""
        return np.full(weights.shape[-2], terms == 1)

    def prepare(self, loaded: Loaded, index: int, lanes: int) -> Any:
        """Return a word of a pixel repeated in all lanes."""
        return _repeat(loaded, index, lanes)

    @abstractmethod
    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        """Return `sums` plus the products of prepared pixels and weights; `terms` words at most."""


class Vnni(Dot):
    """x86 `vpdpbusd`: unsigned inputs by signed weights, exact."""

    name = "vnni"
    flips = True
    extra_registers = 2
    latency = 4.0

    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        for x, load in words:
            name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
            sums = T.call_llvm_pure_intrin(lane_dtype("int32", lanes), name, sums, x, load(0, WORD * lanes))
        return sums


class UnsignedBytes(Dot):
    """x86 `pmaddubsw`, then `pmaddwd` by ones: exact where the weights' sums stay within int16."""

    name = "unsigned bytes"
    flips = True
    multiplies = 2.0
    others = 1.0
    extra_registers = 4
    aim = 2

    _INTRINSICS: ClassVar = {4: "ssse3.pmadd.ub.sw.128", 8: "avx2.pmadd.ub.sw", 16: "avx512.pmaddubs.w.512"}

    def take(self, weights: np.ndarray, terms: int) -> np.ndarray:
        # The largest sum of positive and that of negative weights: then no order of adding leaves int16.
        sides = (np.maximum(weights, 0), np.maximum(-weights.astype(np.int16), 0))
        largest = [_largest_sums(side, terms, ((0, 1), (2, 3))) for side in sides]
        return 255 * np.maximum(*largest) < 2**15

    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        name = f"llvm.x86.{self._INTRINSICS[lanes]}"
        products = [
            T.call_llvm_pure_intrin(_twice(lanes), name, x, load(0, WORD * lanes)) for x, load in words
        ]  # fmt: skip
        return sums + _add_pairs(_total(products), splat(1, "int16", 2 * lanes), lanes)


class SignedPairs(Dot):
    """x86 `pmaddwd` on inputs and weights widened to int16: exact for all weights."""

    name = "signed pairs"
    parts = ((0, 2), (1, 3))
    multiplies = 2.0
    others = 2.5
    prepares = 3.0
    extra_registers = 4

    def prepare(self, loaded: Loaded, index: int, lanes: int) -> tuple[Vector, Vector]:
        """Return the even and the odd channels as int16."""
        pairs = T.bind(T.reinterpret(_twice(lanes), _repeat(loaded, index, lanes)))
        by = splat(8, "int16", 2 * lanes)
        return T.bind(T.shift_right(T.shift_left(pairs, by), by)), T.bind(T.shift_right(pairs, by))

    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        for halves, load in words:
            for part, x in enumerate(halves):
                wide = T.cast(load(part * 2 * lanes, 2 * lanes), _twice(lanes))
                sums = sums + _add_pairs(x, wide, lanes)
        return sums


class SignedDot(Dot):
    """AArch64 `sdot` by element, exact."""

    name = "signed dot"
    load_words = 4
    extra_registers = 3

    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        for x, load in words:
            wide = lane_dtype("int32", lanes)
            sums = T.call_llvm_pure_intrin(wide, "llvm.aarch64.neon.sdot", sums, load(0, WORD * lanes), x)
        return sums


class LongMultiply(Dot):
    """NEON `smull` and `smlal` into int16, then `sadalp` into int32: exact where sums stay within int16."""

    parts = ((0, 1), (2, 3))
    multiplies = 2.0
    others = 1.0
    prepares = 2.0
    load_words = 4

    def __init__(
        self, name: str, extra_registers: int, multiply: str, widen: Callable[[Vector, Vector, int], Vector]
    ) -> None:
        self.name, self.extra_registers, self._multiply, self._widen = name, extra_registers, multiply, widen

    def take(self, weights: np.ndarray, terms: int) -> np.ndarray:
        return 128 * _largest_sums(np.abs(weights.astype(np.int16)), terms, ((0, 2), (1, 3))) < 2**15

    def prepare(self, loaded: Loaded, index: int, lanes: int) -> tuple[Vector, ...]:
        """Return either half of the word."""
        halves = (T.broadcast(loaded.pair(2 * index + half), lanes) for half in (0, 1))
        return tuple(T.bind(T.reinterpret(lane_dtype("int8", 2 * lanes), half)) for half in halves)

    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        return self._widen(sums, _total(self._products(words, lanes)), lanes)

    def _products(self, words: Sequence[tuple[Any, Weights]], lanes: int) -> list[Vector]:
        return [
            T.call_llvm_pure_intrin(_twice(lanes), self._multiply, load(part * 2 * lanes, 2 * lanes), x)
            for halves, load in words
            for part, x in enumerate(halves)
        ]


class LongMultiplyApart(LongMultiply):
    """NEON `smull`, then `sadalp` after each: exact for all weights, as one product always fits."""

    others = 2.0

    def take(self, weights: np.ndarray, terms: int) -> np.ndarray:
        return Dot.take(self, weights, terms)

    def add(self, sums: Vector, words: Sequence[tuple[Any, Weights]], lanes: int) -> Vector:
        for product in self._products(words, lanes):
            sums = T.bind(self._widen(sums, product, lanes))
        return sums


def choices(target: Target) -> tuple[Dot, ...]:
    """Return the kinds of a target, the fastest first; the last takes any weights."""
    if target.architecture == "x86_64":
        names = ("vnni",) if target.has("avx512vnni") else ("unsigned bytes", "signed pairs")
    elif target.has("dotprod"):
        names = ("signed dot",)
    else:
        names = ("smull", "smull apart") if target.architecture == "aarch64" else ("vmull", "vmull apart")
    return tuple(_KINDS[name] for name in names)


def choose(target: Target, weights: np.ndarray) -> tuple[Dot, int]:
    """Return the fastest kind that takes these weights, and its words before widening; see `Dot.terms`."""
    return next((dot, terms) for dot in choices(target) if (terms := dot.terms(weights)) > 0)


def by_name(name: str) -> Dot:
    """Return the kind that a problem names."""
    return _KINDS[name]


def _largest_sums(magnitudes: np.ndarray, terms: int, meeting: Sequence[Sequence[int]]) -> np.ndarray:
    """Return for each output channel the largest sum of magnitudes that meet in one int16.

    Args:
        magnitudes: (..., words, output channels, 4).
        terms: words that are added up.
        meeting: of each word, the channels that are added up.
    """
    lead, (words, *rest) = magnitudes.shape[:-3], magnitudes.shape[-3:]
    padded = np.pad(magnitudes, [(0, 0)] * len(lead) + [(0, -words % terms), (0, 0), (0, 0)])
    grouped = padded.reshape(*lead, -1, terms, *rest).sum(axis=-3, dtype=np.int32)
    sums = [grouped[..., list(channels)].sum(axis=-1).reshape(-1, rest[0]) for channels in meeting]
    return np.maximum.reduce([sum_.max(axis=0, initial=0) for sum_ in sums])


def _twice(lanes: int) -> str:
    return lane_dtype("int16", 2 * lanes)


def _repeat(loaded: Loaded, index: int, lanes: int) -> Vector:
    return T.reinterpret(lane_dtype("int8", WORD * lanes), T.broadcast(loaded.word(index), lanes))


def _total(products: Sequence[Vector]) -> Vector:
    total = products[0]
    for product in products[1:]:
        total = total + product
    return total


def _add_pairs(left: Vector, right: Vector, lanes: int) -> Vector:
    """Multiply int16 and add neighbours, into int32."""
    name = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}[lanes]
    return T.call_llvm_pure_intrin(lane_dtype("int32", lanes), f"llvm.x86.{name}", left, right)


def _widen_aarch64(sums: Vector, products: Vector, lanes: int) -> Vector:
    return sums + T.call_llvm_pure_intrin(lane_dtype("int32", lanes), "llvm.aarch64.neon.saddlp", products)


def _widen_arm(sums: Vector, products: Vector, lanes: int) -> Vector:
    return T.call_llvm_pure_intrin(lane_dtype("int32", lanes), "llvm.arm.neon.vpadals", sums, products)


_AARCH64 = (10, "llvm.aarch64.neon.smull", _widen_aarch64)
_ARM = (5, "llvm.arm.neon.vmulls", _widen_arm)

_KINDS: dict[str, Dot] = {
    dot.name: dot
    for dot in (
        Vnni(),
        UnsignedBytes(),
        SignedPairs(),
        SignedDot(),
        LongMultiply("smull", *_AARCH64),
        LongMultiplyApart("smull apart", *_AARCH64),
        LongMultiply("vmull", *_ARM),
        LongMultiplyApart("vmull apart", *_ARM),
    )
}
