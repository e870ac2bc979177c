"""TIR functions on buffers, as Relax makes them, joined to one function of raw pointers."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunus.backends.kernels.relax_lowering import AtenCall, Legalized, TensorType, Value
from prunus.backends.kernels.tir import tvm

# Marks the loop that threads share.
_UNITS = "prunus.units"

# Memory of one temporary starts at a multiple of this.
_ALIGNMENT = 64


@dataclass(frozen=True)
class Joined:
    """The joined function before its pointers are named.

    Attributes:
        function: TIR function of pointers (inputs, constants, operands, results, scratch if any) and a range.
        units: the range that threads share; 1 where they cannot.
        scratch_bytes: scratch for temporaries.
    """

    function: Any
    units: int
    scratch_bytes: int


@dataclass(frozen=True)
class Chain:
    """An element-wise kernel that turns the call's one result into what is stored.

    Attributes:
        function: of pointers to the result, the operands and the output, and a range of `units`.
        operands: dtypes.
        dtype: of the output.
    """

    function: Any
    units: int
    operands: tuple[str, ...]
    dtype: str


def join(legalized: Legalized, call: AtenCall, lanes: int, chain: Chain | None = None) -> Joined:
    """Schedule, lower and join the functions of a call.

    before:  t = f(x);  y = g(t)                                                functions on buffers
    after:   kernel(x*, y*, scratch*, begin, end): { t = scratch; f's body; g's body }

    The outermost spatial loops of a single function become the range begin..end; several run as one unit.
    """
    alone = len(legalized.functions) == 1 and chain is None
    joiner = _Joiner(legalized, call, chain)
    for index, (function, values) in enumerate(legalized.functions):
        joiner.add(_lower(_schedule(function, lanes, alone), f"part{index}"), values)
    if chain is not None:
        joiner.add_chain(chain)
    return joiner.finish()


def flatten(function: Any) -> Any:
    """Turn buffers of any rank into flat ones and simplify their indices, as our own emitters write them."""
    t = tvm.tirx.transform
    passes = [t.FlattenBuffer(), t.NarrowDataType(32), t.VectorizeLoop(True), t.StorageRewrite(), t.StmtSimplify()]
    return tvm.ir.transform.Sequential(passes)(tvm.IRModule({"kernel": function}))["kernel"]


def _schedule(function: Any, lanes: int, share: bool) -> Any:
    """Inline what can be, fuse the outer spatial loops, vectorise the innermost one of loops without reduction."""
    schedule = tvm.s_tir.Schedule(function)
    with contextlib.suppress(tvm.s_tir.ScheduleError):
        root = schedule.get_sblock("root")
        for block in schedule.get_child_blocks(root)[:-1]:
            with contextlib.suppress(tvm.s_tir.ScheduleError):
                schedule.compute_inline(block)
        blocks = schedule.get_child_blocks(root)
        for block in blocks:
            with contextlib.suppress(tvm.s_tir.ScheduleError):
                _schedule_block(schedule, block, lanes, share and len(blocks) == 1)
    return schedule.mod["main"]


def _schedule_block(schedule: Any, block: Any, lanes: int, share: bool) -> None:
    kinds = [axis.iter_type for axis in schedule.get(block).iter_vars]
    loops = schedule.get_loops(block)
    spatial = kinds.count(0)
    if len(kinds) != len(loops) or kinds[:spatial] != [0] * spatial or spatial == 0:
        return
    vectorized = spatial == len(loops) and _lanes_of(schedule.get(loops[-1]).extent, lanes) > 1
    shared = loops[: spatial - 1] if vectorized else loops[:spatial]
    if vectorized:
        width = _lanes_of(schedule.get(loops[-1]).extent, lanes)
        around, inner = schedule.split(loops[-1], [None, width])
        schedule.vectorize(inner)
        shared = [*shared, around]
    if share:
        schedule.annotate(schedule.fuse(*shared) if len(shared) > 1 else shared[0], _UNITS, 1)
    if spatial < len(loops):
        schedule.decompose_reduction(block, schedule.get_loops(block)[-(len(loops) - spatial)])


def _lanes_of(extent: Any, lanes: int) -> int:
    """Return the largest vector that divides a loop."""
    while lanes > 1 and int(extent) % lanes:
        lanes //= 2
    return lanes


def _lower(function: Any, name: str) -> Any:
    """Lower a scheduled function to plain loops."""
    t = tvm.s_tir.transform
    passes = [
        t.LowerInitBlock(), t.PlanAndUpdateBufferAllocationLocation(), t.ConvertBlocksToOpaque(),
        t.CompactBufferAllocation(), t.LowerMatchBuffer(), t.StmtSimplify(), t.LowerOpaqueBlock(),
        t.RewriteUnsafeSelect(),
    ]  # fmt: skip
    return tvm.ir.transform.Sequential(passes)(tvm.IRModule({name: function}))[name]


class _Joiner:
    """Collects statements and gives temporaries their place in scratch."""

    def __init__(self, legalized: Legalized, call: AtenCall, chain: Chain | None) -> None:
        tirx = tvm.tirx
        self.scratch_bytes = 0
        self.units = 1
        self.statements: list[Any] = []
        self.scratch = _pointer("scratch", "uint8")
        self.memories: dict[str, Any] = {}
        self.begin, self.end = tirx.Var("begin", "int32"), tirx.Var("end", "int32")
        results = [result.dtype for result in call.results]
        kinds = {
            "input": [tensor.dtype for tensor in call.tensors],
            "constant": [str(array.dtype) for array in legalized.constants],
            "operand": list(chain.operands) if chain else [],
            "result": [] if chain else results,
            "output": [chain.dtype] if chain else [],
        }
        places = {Value(kind, index): dtype for kind, dtypes in kinds.items() for index, dtype in enumerate(dtypes)}
        self.parameters = {value: _pointer(f"{value.kind}{value.index}", dtype) for value, dtype in places.items()}
        self.pointers: dict[Value, Any] = dict(self.parameters)
        for index, temporary in enumerate(legalized.temporaries):
            self.pointers[Value("temporary", index)] = self._take(temporary)
        if chain:
            self.pointers[Value("result", 0)] = self._take(call.results[0])

    def add(self, function: Any, values: Sequence[Value]) -> None:
        """Append the body of a function whose parameters are at `values`."""
        for parameter, value in zip(function.params, values, strict=True):
            self._declare(parameter, self.pointers[value])
        self.statements.append(self._rewrite(function.body))

    def add_chain(self, chain: Chain) -> None:
        """Append the body of an element-wise kernel over all of its units."""
        operands = [Value("operand", index) for index in range(len(chain.operands))]
        pointers = [self.pointers[value] for value in (Value("result", 0), *operands, Value("output", 0))]
        values = [*pointers, tvm.tirx.const(0, "int32"), tvm.tirx.const(chain.units, "int32")]
        for parameter, value in zip(chain.function.params, values, strict=True):
            self.statements.append(tvm.tirx.Bind(parameter, value))
        self.statements.append(chain.function.body)

    def finish(self) -> Joined:
        """Return all statements as one function."""
        tirx = tvm.tirx
        pointers = list(self.parameters.values())
        head: list[Any] = []
        if self.scratch_bytes:
            pointers.append(self.scratch)
            head = [tirx.DeclBuffer(memory, data=self.scratch) for memory in self.memories.values()]
        body = tirx.SeqStmt([*head, *self.statements])
        function = tirx.PrimFunc([*pointers, self.begin, self.end], body)
        return Joined(function.with_attr("tirx.noalias", True), self.units, self.scratch_bytes)

    def _declare(self, buffer: Any, pointer: Any) -> None:
        """Let a buffer stand for the memory behind a pointer; symbolic offsets are zero."""
        if isinstance(buffer.elem_offset, tvm.tirx.Var):
            self.statements.append(tvm.tirx.Bind(buffer.elem_offset, tvm.tirx.const(0, buffer.elem_offset.ty.dtype)))
        self.statements.append(tvm.tirx.DeclBuffer(buffer, data=pointer))

    def _take(self, temporary: TensorType) -> Any:
        """Reserve scratch and return its address."""
        start, dtype = self.scratch_bytes, _stored(temporary.dtype)
        self.scratch_bytes += -(-temporary.size_bytes // _ALIGNMENT) * _ALIGNMENT
        if dtype not in self.memories:
            self.memories[dtype] = tvm.tirx.decl_buffer((1 << 28,), dtype, f"scratch_{dtype}")
        return tvm.tirx.address_of(self.memories[dtype][start // np.dtype(dtype).itemsize])

    def _rewrite(self, statement: Any) -> Any:
        """Take allocations from scratch, make parallel loops serial, and let the marked loop run begin..end."""
        tirx = tvm.tirx
        if isinstance(statement, tirx.SeqStmt):
            return tirx.SeqStmt([self._rewrite(item) for item in statement.seq])
        if isinstance(statement, tirx.AllocBuffer):
            kind = TensorType(tuple(int(extent) for extent in statement.buffer.shape), str(statement.buffer.dtype))
            return tirx.DeclBuffer(statement.buffer, data=self._take(kind))
        if isinstance(statement, tirx.IfThenElse):
            other = statement.else_case
            return tirx.IfThenElse(
                statement.condition, self._rewrite(statement.then_case), self._rewrite(other) if other else None
            )
        if isinstance(statement, tirx.AttrStmt):
            return self._rewrite(statement.body)
        if isinstance(statement, tirx.For):
            return self._rewrite_loop(statement)
        return statement

    def _rewrite_loop(self, statement: Any) -> Any:
        tirx = tvm.tirx
        first, extent, kind = statement.min, statement.extent, statement.kind
        if kind == tirx.ForKind.PARALLEL:
            kind = tirx.ForKind.SERIAL
        body = self._rewrite(statement.body)
        if _UNITS in statement.annotations:
            self.units = int(extent)
            dtype = str(statement.loop_var.ty.dtype)
            first, extent = tirx.Cast(dtype, self.begin), tirx.Cast(dtype, self.end - self.begin)
        return tirx.For(statement.loop_var, first, extent, kind, body)


def _pointer(name: str, dtype: str) -> Any:
    return tvm.tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(_stored(dtype))))


def _stored(dtype: str) -> str:
    """Truth values are bytes in memory."""
    return "uint8" if dtype == "bool" else dtype
