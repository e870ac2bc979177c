"""The few building blocks that every kernel emitter uses: the function's frame, loads, stores and expressions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prunus.backends.kernels.expression import Accumulator, Apply, Expression, Number, Operand
from prunus.backends.kernels.tir import IRBuilder, T
from prunus.backends.kernels.vector_math import OPERATIONS, TESTS, WIDER, Math, lane_dtype, splat
from prunus.targets import Target

Index = Any
Vector = Any

# Elements that a pointer's buffer is declared with. TVM only needs a number; bounds are the emitter's business.
_EXTENT = 1 << 30


@dataclass(frozen=True)
class Memory:
    """A pointer argument: its buffer and the dtype of what is stored there (`bool` is one byte in memory)."""

    buffer: Any
    dtype: str

    @property
    def stored_dtype(self) -> str:
        return "uint8" if self.dtype == "bool" else self.dtype


Body = Callable[[list[Memory], Index, Index], None]


def kernel(target: Target, dtypes: Sequence[str], body: Body) -> Any:
    """Return a PrimFunc named "kernel" of one pointer for each dtype and a range of units.

    Args:
        target: decides how wide an index is: as an address. Narrower sums are widened anew for every load and store.
        dtypes: what each pointer points to.
        body: writes the kernel; called with the memories, `begin` and `end` inside the function's frame.
    """
    with IRBuilder.IRBuilder() as builder, T.prim_func(s_tir=False):
        T.func_name("kernel")
        # Views of one buffer may overlap only at the same element, which is read before it is written.
        T.func_attr({"global_symbol": "kernel", "tirx.noalias": True})
        stored = ["uint8" if dtype == "bool" else dtype for dtype in dtypes]
        pointers = [T.arg(f"p{index}", T.handle(dtype)) for index, dtype in enumerate(stored)]
        begin, end = T.arg("begin", T.int32()), T.arg("end", T.int32())
        memories = [
            Memory(T.decl_buffer((_EXTENT,), dtype, data=pointer), logical)
            for pointer, dtype, logical in zip(pointers, stored, dtypes, strict=True)
        ]
        body(memories, *(T.bind(T.cast(bound, target.index_dtype)) for bound in (begin, end)))
    return builder.get()


@contextmanager
def loop(begin: Index, end: Index) -> Iterator[Index]:
    """A loop over begin..end; where both are Python numbers one apart, no loop at all."""
    if isinstance(begin, int) and isinstance(end, int) and end - begin == 1:
        yield begin
        return
    with T.serial(begin, end) as variable:
        yield variable


@contextmanager
def when(condition: Any) -> Iterator[None]:
    """A conditional block; a Python bool decides now (False still needs the caller not to enter)."""
    if condition is True:
        yield
        return
    with T.If(condition), T.Then():
        yield


def split(index: Index, sizes: Sequence[int]) -> list[Index]:
    """Split a flat index into one for each dimension, the last one fastest."""
    parts: list[Index] = []
    for size in reversed(sizes[1:]):
        if size == 1:
            parts.append(0)
            continue
        parts.append(T.bind(index % size))
        index = T.bind(index // size)
    return [index, *reversed(parts)]


def address(indices: Sequence[Index], strides: Sequence[int]) -> Index:
    """Sum of index times stride, leaving out what is zero."""
    total: Index = 0
    for index, stride in zip(indices, strides, strict=True):
        if stride != 0 and not (isinstance(index, int) and index == 0):
            total = total + index * stride
    return total


def load(memory: Memory, index: Index, lanes: int = 1, stride: int = 1) -> Vector:
    """Load `lanes` elements, `stride` apart; stride 0 fills every lane with one element."""
    if lanes == 1:
        value = memory.buffer[index]
    elif stride == 0:
        value = T.broadcast(memory.buffer[index], lanes)
    else:
        value = memory.buffer[T.ramp(index, stride, lanes)]
    if memory.dtype == "bool":
        return value != splat(0, "uint8", lanes)
    return value


def store(memory: Memory, index: Index, value: Vector, lanes: int = 1, stride: int = 1) -> None:
    """Store `lanes` elements, `stride` apart."""
    if memory.dtype == "bool":
        value = T.cast(value, lane_dtype("uint8", lanes))
    T.buffer_store(memory.buffer, value, [index if lanes == 1 else T.ramp(index, stride, lanes)])


def pieces(count: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Cut `count` elements into (start, lanes) of at most `lanes`, then halves: 13 of 8 is (0, 8), (8, 4), (12, 1)."""
    start = 0
    while start < count:
        while lanes > count - start:
            lanes //= 2
        yield start, lanes
        start += lanes


def spans(count: int, lanes: int) -> Iterator[tuple[Index, int]]:
    """Yield (start, lanes) of vectors over `count` elements: once inside a loop over the full ones, then the rest."""
    if count >= lanes:
        with loop(0, count // lanes) as vector:
            yield vector * lanes, lanes
    rest = count % lanes
    for start, width in pieces(rest, lanes):
        yield count - rest + start, width


class Registers:
    """Vectors that stay in registers across loops: each is an array of its own that LLVM promotes."""

    def __init__(self, count: int, lanes: int | Sequence[int], dtype: str = "float32") -> None:
        widths = [lanes] * count if isinstance(lanes, int) else list(lanes)
        self.dtype = dtype
        self._arrays = [(T.alloc_local((width,), dtype), width) for width in widths]

    def __getitem__(self, index: int) -> Vector:
        array, width = self._arrays[index]
        return array[0] if width == 1 else array[T.ramp(0, 1, width)]

    def __setitem__(self, index: int, value: Vector) -> None:
        array, width = self._arrays[index]
        T.buffer_store(array, value, [0 if width == 1 else T.ramp(0, 1, width)])

    def part(self, index: int, start: int, lanes: int) -> Vector:
        """Return some lanes of one vector."""
        array, width = self._arrays[index]
        if lanes == width:
            return self[index]
        return array[start] if lanes == 1 else array[T.ramp(start, 1, lanes)]


def bind(value: Vector, dtype: str, lanes: int) -> Vector:
    """Give a value a register of its own, so that it is computed once.

    TVM's passes look through names and would write long expressions back into every use; memory they leave alone.
    Vectors of truth values have no memory; they stay expressions.
    """
    if dtype == "bool":
        return value
    register = Registers(1, lanes, dtype)
    register[0] = value
    return register[0]


def convert(value: Vector, source: str, dtype: str, lanes: int) -> Vector:
    """Convert between dtypes; vectors of truth values have no conversions of their own in TVM."""
    if dtype == "bool":
        return value != splat(0, source, lanes)
    if source == "bool":
        return T.Select(value, splat(1, dtype, lanes), splat(0, dtype, lanes))
    return T.cast(value, lane_dtype(dtype, lanes))


Reader = Callable[[int, int], Vector]


def evaluate(expression: Expression, lanes: int, accumulator: Vector | None, read: Reader) -> Vector:
    """Return the vector of an expression.

    Args:
        expression: what to compute.
        lanes: lanes of the result.
        accumulator: what `Accumulator` stands for.
        read: returns `lanes` elements of operand `index` at this place, called once for each operand.
    """
    done: dict[Expression, Vector] = {}

    def visit(item: Expression) -> Vector:
        if item in done:
            return done[item]
        match item:
            case Accumulator():
                result = accumulator
            case Operand(index):
                result = bind(read(index, lanes), item.dtype, lanes)
            case Number(value, dtype):
                return splat(value, dtype, lanes)
            case Apply("cast", (argument,), dtype):
                result = bind(convert(visit(argument), argument.dtype, dtype, lanes), dtype, lanes)
            case Apply(op, arguments, dtype):
                result = bind(_apply(op, arguments, [visit(each) for each in arguments], dtype, lanes), dtype, lanes)
        done[item] = result
        return result

    return visit(expression)


def _apply(op: str, arguments: Sequence[Expression], values: Sequence[Vector], dtype: str, lanes: int) -> Vector:
    """Compute one operation, in a wider dtype where its own is too narrow to compute in."""
    narrow = arguments[-1].dtype
    wide = WIDER.get(narrow, narrow)
    # The condition of a selection is no number.
    numbers = range(1 if op == "select" else 0, len(values))
    widened = [convert(v, narrow, wide, lanes) if i in numbers and wide != narrow else v for i, v in enumerate(values)]
    if op in TESTS:
        return OPERATIONS[op](*widened, Math(wide, lanes))
    if wide == narrow:
        return OPERATIONS[op](*widened, Math(dtype, lanes))
    return convert(OPERATIONS[op](*widened, Math(wide, lanes)), wide, dtype, lanes)
