"""What a library will do: small frozen records that planning makes and code generation reads."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from prunus.targets import Target


class Storage(Enum):
    """Where a buffer lives while the library runs."""

    INPUT = "input"  # the caller's memory, read only
    OUTPUT = "output"  # the caller's memory
    CONSTANT = "constant"  # .rodata of the library
    ARENA = "arena"  # scratch of one instance, planned


@dataclass(frozen=True)
class Buffer:
    """Memory of one purpose. `size` counts elements of `dtype` (numpy's name)."""

    name: str
    storage: Storage
    dtype: str
    size: int

    @property
    def size_bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class View:
    """A strided window into a buffer; offset and strides count elements."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class KernelSpec:
    """One kernel, completely: equal specs are one compiled function, within a model and in the cache on disk.

    Attributes:
        family: name of the family in `backends/kernels`.
        problem: the family's frozen record: shapes, strides, epilogue. Everything but the way of computing it.
        knob: the way of computing it: the family's frozen record of tile sizes and orders.
    """

    family: str
    problem: object
    knob: object


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    The compiled function takes one pointer for each view of `arguments`, then (where `scratch_bytes` is not zero) a
    pointer to scratch of the calling thread, then `int32_t begin, int32_t end`: a range of the `units` of work.

    Attributes:
        kernel: what to call.
        arguments: the views, in the kernel's order of parameters.
        writes: positions in `arguments` that are written; all others are only read.
        units: the range that the thread pool splits is 0..units.
        scratch_bytes: scratch for each thread.
        shares: positions of read arguments whose memory the result may take over (same place for every element).
        nodes: names of the graph nodes that this step computes.
        operators: what those nodes call, "conv2d"; empty for copies that only change the layout.
        macs: multiply-accumulates.
        cost_cycles: static estimate for one core, for reports and for the order of candidates.
        tuned: "measured" or "estimated" where tuning chose the knob, else empty.
    """

    kernel: KernelSpec
    arguments: tuple[View, ...]
    writes: tuple[int, ...]
    units: int
    scratch_bytes: int = 0
    shares: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    macs: int = 0
    cost_cycles: float = 0.0
    tuned: str = ""

    @property
    def read_views(self) -> tuple[View, ...]:
        return tuple(view for position, view in enumerate(self.arguments) if position not in self.writes)

    @property
    def written_views(self) -> tuple[View, ...]:
        return tuple(self.arguments[position] for position in self.writes)


@dataclass(frozen=True)
class Arena:
    """The memory plan: byte offsets of arena buffers and of the scratch of threads.

    Attributes:
        offsets: byte offset of each arena buffer, multiples of 64.
        scratch_offset: where the scratch of thread 0 starts; thread t's is `t * scratch_bytes` further.
        scratch_bytes: scratch of one thread, a multiple of 64.
        size_bytes: all of it, for `max_threads` threads.
        bound_bytes: the most that is alive at once; no plan can take less.
    """

    offsets: dict[Buffer, int]
    scratch_offset: int
    scratch_bytes: int
    size_bytes: int
    bound_bytes: int


@dataclass(frozen=True)
class Tensor:
    """An input or output of the library, dense and row-major in the caller's memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: Buffer


@dataclass(frozen=True)
class Program:
    """A whole model: what runs, on which memory, in which order."""

    name: str
    target: Target
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    constants: dict[Buffer, np.ndarray] = field(repr=False)
    arena: Arena
    max_threads: int
