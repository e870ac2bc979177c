"""The long tail: ATen operators without a family of their own, through TVM Relax.

The operator is exported alone, legalised by Relax, compared with PyTorch on random inputs, scheduled by one general
rule and joined to one function (`relax_lowering.py`, `relax_function.py`). That is slower than a kernel written for the
purpose, and planning such an operator imports TVM; reports mark these steps by the family's name.

Indices from the model are used as they are: operators that write by index (`scatter`) trust them to be in range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.fx import Node

from prunus.backends.kernels.elementwise import Elementwise, ElementwiseChain
from prunus.backends.kernels.expression import Accumulator, Apply, Expression, Operand
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request, epilogue_of
from prunus.backends.kernels.relax_function import Chain, Joined, flatten, join
from prunus.backends.kernels.relax_lowering import AtenCall, Legalized, Slot, TensorType, legalize, tensor_type
from prunus.backends.plan.layout import DimOrder, contiguous
from prunus.backends.plan.program import View
from prunus.targets import Target


@dataclass(frozen=True)
class LongTail:
    """Problem: the call, which of its tensors are constants, and what joining its functions has found.

    Attributes:
        order: for each parameter of the kernel ahead of Relax's own constants, the tensor of the call that it holds.
        epilogue: over the result's dimensions; the output is dense.
    """

    call: AtenCall
    epilogue: Epilogue
    order: tuple[int, ...]
    units: int
    scratch_bytes: int


@dataclass(frozen=True)
class LongTailKnob:
    """Way of computing: lanes of vectorised loops."""

    lanes: int


class LongTailOperators(Defaults):
    """The family; see the module's docstring."""

    name = "relax"

    def claims(self, anchor: Node) -> bool:
        return getattr(anchor.target, "namespace", "") == "aten"

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None if _dense(view) else tuple(range(len(view.shape)))

    def match(self, request: Request, target: Target) -> Match | No:
        assert request.anchor is not None
        if request.padding:
            return No("its padding is a node of its own")
        if not all(map(_dense, (*request.inputs.values(), *request.outputs))):
            return No("its inputs or outputs are not dense and row-major")
        described = _describe(request.anchor)
        if isinstance(described, No):
            return described
        call, positions = described
        legalized = legalize(call)
        if isinstance(legalized, No):
            return legalized
        read = [index for index, position in enumerate(positions) if position in request.inputs]
        packed = [index for index, position in enumerate(positions) if position in request.constants]
        epilogue = epilogue_of(request, lambda view: view.strides)
        joined = _joined(call, epilogue, target)
        return Match(
            LongTail(call, epilogue, (*read, *packed), joined.units, joined.scratch_bytes),
            reads=tuple(request.inputs[positions[index]] for index in read),
            outputs=request.outputs,
            operands=request.operands,
            tensors=(
                *(request.constants[positions[index]] for index in packed),
                *(torch.from_numpy(array) for array in legalized.constants),
            ),
        )

    def knobs(self, problem: LongTail, target: Target) -> Sequence[LongTailKnob]:
        return [LongTailKnob(target.lanes())]

    def units(self, problem: LongTail, knob: LongTailKnob) -> int:
        return problem.units

    def scratch_bytes(self, problem: LongTail, knob: LongTailKnob) -> int:
        return problem.scratch_bytes

    def estimate(self, problem: LongTail, knob: LongTailKnob, target: Target) -> float:
        tensors = (*problem.call.tensors, *problem.call.results)
        return 10.0 * sum(math.prod(tensor.shape) for tensor in tensors) + 100.0

    def emit(self, problem: LongTail, knob: LongTailKnob, target: Target) -> Any:
        joined = _joined(problem.call, problem.epilogue, target).function
        count = len(problem.order)
        inputs = [joined.params[index] for index in problem.order]
        return flatten(
            type(joined)([*inputs, *list(joined.params)[count:]], joined.body).with_attr("tirx.noalias", True)
        )


@lru_cache(maxsize=64)
def _joined(call: AtenCall, epilogue: Epilogue, target: Target) -> Joined:
    legalized = legalize(call)
    assert isinstance(legalized, Legalized), legalized.reason
    plain = isinstance(epilogue.expression, Accumulator)
    return join(legalized, call, target.lanes(), None if plain else _chain(call, epilogue, target))


def _chain(call: AtenCall, epilogue: Epilogue, target: Target) -> Chain:
    """Return the epilogue as an element-wise kernel whose first operand is the result of the call."""
    family, sizes = ElementwiseChain(), call.results[0].shape or (1,)
    dense = contiguous(sizes)
    operands = tuple(OperandLayout(layout.dtype, layout.strides or (0,)) for layout in epilogue.operands)
    layouts = (OperandLayout(call.results[0].dtype, dense), *operands)
    problem = Elementwise(sizes, dense, Epilogue(_after_result(epilogue.expression), layouts, epilogue.dtype))
    knob = family.knobs(problem, target)[0]
    function = family.emit(problem, knob, target)
    return Chain(function, family.units(problem, knob), tuple(layout.dtype for layout in operands), epilogue.dtype)


@lru_cache(maxsize=4096)  # parts occur many times
def _after_result(expression: Expression) -> Expression:
    """Let the accumulator be operand 0, in front of the others."""
    match expression:
        case Accumulator(dtype):
            return Operand(0, dtype)
        case Operand(index, dtype):
            return Operand(index + 1, dtype)
        case Apply(op, arguments, dtype):
            return Apply(op, tuple(map(_after_result, arguments)), dtype)
    return expression


def _dense(view: View) -> bool:
    expected = contiguous(view.shape)
    return all(size == 1 or own == right for size, own, right in zip(view.shape, view.strides, expected, strict=True))


def _describe(anchor: Node) -> tuple[AtenCall, list[int]] | No:
    """Return a node's call as plain data, and the positions of its tensors as planning counts them."""
    tensors: list[TensorType] = []
    positions: list[int] = []

    def plain(argument: Any, position: int) -> Any:
        if isinstance(argument, Node):
            tensors.append(tensor_type(argument.meta["val"]))
            positions.append(position)
            return Slot(len(tensors) - 1)
        if isinstance(argument, list | tuple):
            return tuple(plain(item, position + index) for index, item in enumerate(argument))
        return argument

    arguments = tuple(plain(argument, position) for position, argument in enumerate(anchor.args))
    if any(isinstance(argument, Node) for argument in anchor.kwargs.values()):
        return No("it takes tensors by name")
    if len(set(positions)) != len(positions):
        return No("it takes lists of tensors among others")
    results = anchor.meta["val"]
    results = [results] if isinstance(results, torch.Tensor) else list(results)
    keywords = tuple(sorted(anchor.kwargs.items()))
    operator = str(anchor.target).removeprefix("aten.")
    return AtenCall(operator, arguments, keywords, tuple(tensors), tuple(map(tensor_type, results))), positions
