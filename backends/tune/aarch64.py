"""Instructions of AArch64 by what they occupy in a core. Encodings: Arm Architecture Reference Manual, chapter C4."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto


class Unit(Enum):
    """What an instruction occupies."""

    FLOAT = auto()  # vector pipes, floating point
    MULTIPLY = auto()  # vector pipes, products of integers
    PAIRWISE = auto()  # vector pipes, pairwise sums of integers
    DOT = auto()  # vector pipes, dot products of bytes
    VECTOR = auto()  # vector pipes, anything else
    VECTOR_LOAD = auto()
    VECTOR_STORE = auto()
    LOAD = auto()
    STORE = auto()
    OTHER = auto()  # integers and branches


@dataclass(frozen=True)
class Use:
    """One use of a unit.

    Attributes:
        registers: vector registers of 128 bits that are moved or computed; a half where 64 bits or less are.
        accumulates: number of the register that is read, added to and written; None where there is none.
        starts: number of the register that a product is written to, which others may be added to.
    """

    unit: Unit
    registers: float = 1.0
    accumulates: int | None = None
    starts: int | None = None


def uses(word: int) -> Iterator[Use]:
    """Yield what an instruction occupies."""
    if _bits(word, 27, 27) and not _bits(word, 25, 25):
        yield from _memory(word)
    elif _bits(word, 27, 25) == 0b111:
        yield _arithmetic(word)
    else:
        yield Use(Unit.OTHER)


def _bits(word: int, high: int, low: int) -> int:
    return word >> low & (1 << (high - low + 1)) - 1


def _memory(word: int) -> Iterator[Use]:
    vector = _bits(word, 26, 26)
    if _bits(word, 29, 27) == 0b001 and vector:  # LD1 and kin
        loads, whole = _bits(word, 22, 22), 0.5 + _bits(word, 30, 30) / 2
        if _bits(word, 24, 24):  # one lane, or one element to all lanes
            yield Use(Unit.VECTOR_LOAD if loads else Unit.VECTOR_STORE, 0.5)
            yield Use(Unit.VECTOR, whole)
            return
        count = {0b0111: 1, 0b1010: 2, 0b0110: 3, 0b0100: 3, 0b1000: 2}.get(_bits(word, 15, 12), 4)
        yield Use(Unit.VECTOR_LOAD if loads else Unit.VECTOR_STORE, count * whole)
        return
    if _bits(word, 29, 27) == 0b101:  # pairs
        loads, registers = _bits(word, 22, 22), 2 * (1.0 if _bits(word, 31, 30) == 0b10 else 0.5)
    elif _bits(word, 29, 27) == 0b111:  # single registers
        opcode = _bits(word, 23, 22)
        loads = opcode & 1 if vector else opcode != 0
        registers = 1.0 if opcode & 2 else 0.5
    else:  # literals, atomics
        loads, registers = 1, 1.0
    if vector:
        yield Use(Unit.VECTOR_LOAD if loads else Unit.VECTOR_STORE, registers)
    else:
        yield Use(Unit.LOAD if loads else Unit.STORE)


def _arithmetic(word: int) -> Use:
    if _bits(word, 28, 28) or _bits(word, 31, 31):  # one element
        return Use(Unit.FLOAT, 0.5)
    whole, target = 0.5 + _bits(word, 30, 30) / 2, _bits(word, 4, 0)
    if _bits(word, 24, 24):
        return _by_element(word, whole, target)
    if not _bits(word, 21, 21):
        if _bits(word, 15, 15) and _bits(word, 10, 10):  # SDOT, UDOT, USDOT
            return Use(Unit.DOT, whole, target)
        return Use(Unit.VECTOR, whole)
    if _bits(word, 10, 10):
        return _three_same(_bits(word, 15, 11), whole, target)
    if not _bits(word, 11, 11):  # three registers of different widths, always 128 bits of results
        opcode = _bits(word, 15, 12)
        multiplies = opcode in (0b1000, 0b1010, 0b1100, 0b1001, 0b1011, 0b1101)
        added = opcode in (0b1000, 0b1010)
        starts = target if multiplies and not added else None
        return Use(Unit.MULTIPLY if multiplies else Unit.VECTOR, 1.0, target if added else None, starts)
    opcode = _bits(word, 16, 12)
    if _bits(word, 21, 17) == 0b10000 and opcode in (0b00010, 0b00110):  # SADDLP, SADALP
        return Use(Unit.PAIRWISE, whole, target if opcode == 0b00110 else None)
    return Use(Unit.FLOAT if opcode & 0b10000 else Unit.VECTOR, whole)


def _by_element(word: int, whole: float, target: int) -> Use:
    if _bits(word, 10, 10):  # shifts and constants
        return Use(Unit.VECTOR, whole)
    opcode = _bits(word, 15, 12)
    if opcode in (0b0001, 0b0101, 0b1001):  # FMLA, FMLS, FMUL
        return Use(Unit.FLOAT, whole, target if opcode != 0b1001 else None)
    if opcode == 0b1110:
        return Use(Unit.DOT, whole, target)
    return Use(Unit.MULTIPLY, 1.0, target if opcode in (0b0000, 0b0010, 0b0100, 0b0110) else None)


def _three_same(opcode: int, whole: float, target: int) -> Use:
    if opcode >= 0b11000:
        return Use(Unit.FLOAT, whole, target if opcode == 0b11001 else None)
    if opcode in (0b10010, 0b10011):  # MLA, MUL
        return Use(Unit.MULTIPLY, whole, target if opcode == 0b10010 else None)
    return Use(Unit.VECTOR, whole)
