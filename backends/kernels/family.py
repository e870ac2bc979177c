"""What a family of kernels is: one way of computing one kind of fusion group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.expression import Accumulator, Expression
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.targets import Target


@dataclass(frozen=True)
class No:
    """A family does not take a group, and why."""

    reason: str


@dataclass(frozen=True)
class Request:
    """One fusion group together with the memory that it reads and writes.

    Attributes:
        anchor: the operator that needs a kernel of its own; None for a chain of element-wise operators.
        inputs: views of the anchor's tensor arguments by position in its arguments; constants are left out.
        constants: the anchor's constant tensor arguments by position.
        epilogue: what becomes of the anchor's result, element by element; `Accumulator()` where nothing does.
        operands: views that the epilogue reads, broadcast to the shape of the output.
        outputs: views that are written; one, but for operators with several results.
        dtypes: dtype of each operand.
        padding: zero padding in front and behind of each spatial dimension that was a node of its own.
    """

    anchor: Node | None
    inputs: dict[int, View]
    constants: dict[int, torch.Tensor]
    epilogue: Expression
    operands: tuple[View, ...]
    outputs: tuple[View, ...]
    padding: tuple[tuple[int, int], ...] = ()

    @property
    def output(self) -> View:
        return self.outputs[0]


@dataclass(frozen=True)
class Match:
    """A family takes a group.

    Attributes:
        problem: frozen record of everything that the kernel's code depends on, but for the way of computing it.
        reads: views that the kernel reads, in the order of its parameters, in front of packed constants.
        tensors: constants to be packed by `Family.pack`.
        operands: views of the epilogue.
        outputs: views that are written, last.
        shares: positions in `reads` and then `operands` whose memory the output may take over.
        macs: multiply-accumulates.
    """

    problem: Any
    reads: tuple[View, ...]
    outputs: tuple[View, ...]
    operands: tuple[View, ...] = ()
    tensors: tuple[torch.Tensor, ...] = field(default=(), repr=False)
    macs: int = 0
    shares: tuple[int, ...] = ()


class Family(Protocol):
    """One way of computing one kind of fusion group; one file under `backends/kernels/`.

    The kernel's parameters are: reads, packed constants, operands, outputs, scratch (where asked for), begin, end.
    """

    name: str

    def claims(self, anchor: Node) -> bool:
        """Tell whether this family is for the operator and its attributes."""

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        """Return the order to which the input at `position` must be copied first, None where `view` will do."""

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        """Return the order in memory that suits the output."""

    def match(self, request: Request, target: Target) -> Match | No:
        """Return the problem, or the reason why this family cannot compute it on these views."""

    def knobs(self, problem: Any, target: Target) -> Sequence[Any]:
        """Return the legal ways of computing it, best guess first, from facts of the target only."""

    def pack(self, problem: Any, knob: Any, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        """Return the constants as the kernel reads them."""

    def units(self, problem: Any, knob: Any) -> int:
        """Return the number of units that the range of the kernel counts."""

    def scratch_bytes(self, problem: Any, knob: Any) -> int:
        """Return bytes of scratch that each thread needs."""

    def estimate(self, problem: Any, knob: Any, target: Target) -> float:
        """Return estimated cycles of one core for all units, to order candidates and for reports."""

    def emit(self, problem: Any, knob: Any, target: Target) -> Any:
        """Return the TIR function."""


class Defaults:
    """What most families answer."""

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return tuple(range(rank))

    def pack(self, problem: Any, knob: Any, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        return tuple(np.ascontiguousarray(tensor.detach().numpy()) for tensor in tensors)

    def scratch_bytes(self, problem: Any, knob: Any) -> int:
        return 0


@dataclass(frozen=True)
class OperandLayout:
    """How a kernel reads an operand of its epilogue: dtype, and strides over the loops of the family."""

    dtype: str
    strides: tuple[int, ...]


ACCUMULATOR = Accumulator()


@dataclass(frozen=True)
class Epilogue:
    """What becomes of an accumulator before it is stored."""

    expression: Expression = ACCUMULATOR
    operands: tuple[OperandLayout, ...] = ()
    dtype: str = "float32"


def not_float32(request: Request) -> No | None:
    """Return why a family that multiplies float32 cannot take a request, None if it can."""
    dtypes = {view.buffer.dtype for view in request.inputs.values()}
    dtypes |= {str(tensor.dtype).removeprefix("torch.") for tensor in request.constants.values()}
    others = sorted(dtypes - {"float32"})
    return No(f"it multiplies float32, not {', '.join(others)}") if others else None


def unlike_a_layer(request: Request) -> No | None:
    """Return why a layer of constant float32 weights (argument 1) and bias (argument 2) cannot take a request."""
    if 0 not in request.inputs:
        return No("its input is a constant")
    if 1 not in request.constants:
        return No("its weight is not a constant")
    if 2 in request.inputs:
        return No("its bias is not a constant")
    return not_float32(request)


def epilogue_of(request: Request, strides: Callable[[View], tuple[int, ...]]) -> Epilogue:
    """Return the epilogue of a request; `strides` gives a view's strides in the order of the family's loops."""
    layouts = tuple(OperandLayout(view.buffer.dtype, strides(view)) for view in request.operands)
    return Epilogue(request.epilogue, layouts, request.output.buffer.dtype)
