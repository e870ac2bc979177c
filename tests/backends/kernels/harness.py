"""Checks one kernel of a family, on memory of any layout, against PyTorch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from prunus.backends.codegen.lower import assembly
from prunus.backends.kernels.expression import Accumulator, Expression
from prunus.backends.kernels.family import Family, Match, No, Request
from prunus.backends.plan.layout import DimOrder, contiguous
from prunus.backends.plan.program import Buffer, Storage, View
from prunus.targets import Target, load_target
from tests.backends.kernels.execution import Pointer, can_run, execute, skip_unless_run


@dataclass(frozen=True)
class Layout:
    """How a tensor lies in memory: dimensions from slowest to fastest, and elements around it in every dimension."""

    order: DimOrder | None = None
    margin: int = 0


@dataclass(frozen=True)
class After:
    """An epilogue: its expression, the tensors that its operands read, and the same in PyTorch."""

    expression: Expression
    reference: Callable[..., Tensor]
    operands: tuple[Tensor, ...] = ()
    layouts: tuple[Layout, ...] = ()


class Placed:
    """A tensor in memory of its own, with NaN or another mark around it; `shape` broadcasts the view of it."""

    def __init__(self, name: str, tensor: Tensor, layout: Layout, shape: Sequence[int] | None = None) -> None:
        room = [size + 2 * layout.margin for size in tensor.shape]
        strides = contiguous(room, layout.order)
        mark = math.nan if tensor.is_floating_point() else True if tensor.dtype == torch.bool else 77
        self.memory = torch.full((math.prod(room),), mark, dtype=tensor.dtype)
        self.window = self.memory.as_strided(tensor.shape, strides, layout.margin * sum(strides))
        self.window.copy_(tensor)
        seen = self.window.expand(tensor.shape if shape is None else tuple(shape))
        buffer = Buffer(name, Storage.ARENA, dtype_name(tensor.dtype), self.memory.numel())
        self.view = View(buffer, int(self.window.storage_offset()), tuple(seen.shape), tuple(seen.stride()))
        self.original = self.memory.clone()

    @property
    def pointer(self) -> Pointer:
        return Pointer(self.memory, self.view.offset)

    def restore(self) -> None:
        """Put the memory back as it was in the beginning."""
        self.memory.copy_(self.original)

    def unchanged(self, outside: bool) -> bool:
        """Tell whether the memory, or only what lies around the tensor, is as it was in the beginning."""
        pair = [self.memory.clone(), self.original.clone()]
        for memory in pair if outside else []:
            memory.as_strided(self.window.shape, self.window.stride(), self.view.offset).zero_()
        return torch.equal(*[memory.nan_to_num(77) for memory in pair])


def check_kernel(
    family: Family,
    operator: Any,
    arguments: Sequence[Any],
    *,
    constants: Sequence[int] = (),
    layouts: dict[int, Layout] | None = None,
    output_layout: Layout | None = None,
    after: After | None = None,
    target: Target | str = "native",
    knobs: int = 1,
    in_place: int | None = None,
    tolerance: float = 1e-5,
    padding: tuple[tuple[int, int], ...] = (),
    exact: bool = False,
) -> Match:
    """Compile one operator with the first `knobs` knobs of a family, run it in pieces and compare it with PyTorch.

    Args:
        family: what is checked: match, knobs, pack, units, scratch_bytes, estimate and emit.
        operator: the ATen overload.
        arguments: its arguments; tensors at `constants` are packed, others are read where `layouts` puts them.
        output_layout: how the outputs lie in memory.
        after: the epilogue.
        target: foreign ones run under their emulator; where it is absent they are compiled, and the test is skipped.
        in_place: position in the match's `shares` of the view whose memory the output takes over.
        tolerance: largest error as a share of the largest output.
        padding: zeros in front and behind of the spatial dimensions of argument 0 that the kernel adds itself.
        exact: compare with PyTorch in float64, where its float32 is further off than the tolerance.

    Returns:
        The match, for more questions.
    """
    target, layouts = load_target(target), layouts or {}
    tensors = {i: argument for i, argument in enumerate(arguments) if isinstance(argument, Tensor)}
    inputs = {i: Placed(f"in{i}", t, layouts.get(i, Layout())) for i, t in tensors.items() if i not in constants}
    read = list(arguments)
    if padding:
        read[0] = torch.nn.functional.pad(read[0], [size for pair in reversed(padding) for size in pair])
    result = operator(*read)
    expected = [result] if isinstance(result, Tensor) else list(result)
    node = make_node(operator, read, constants, result)
    dtype = dtype_name(expected[0].dtype)
    operands: list[Placed] = []
    if after is not None:
        places = [*after.layouts, *[Layout()] * (len(after.operands) - len(after.layouts))]
        named = enumerate(zip(after.operands, places, strict=True))
        operands = [Placed(f"operand{i}", tensor, place, expected[0].shape) for i, (tensor, place) in named]
        expected[0] = after.reference(expected[0], *after.operands)
    truths = _in_float64(operator, read, after) if exact else expected
    outputs = [Placed(f"out{i}", torch.zeros_like(t), output_layout or Layout()) for i, t in enumerate(expected)]
    request = Request(
        anchor=node,
        inputs={i: placed.view for i, placed in inputs.items()},
        constants={i: tensors[i] for i in constants if i in tensors},
        epilogue=after.expression if after else Accumulator(dtype),
        operands=tuple(placed.view for placed in operands),
        outputs=tuple(placed.view for placed in outputs),
        padding=padding,
    )
    match = family.match(request, target)
    assert not isinstance(match, No), match.reason
    of_view = {placed.view: placed for placed in (*inputs.values(), *operands, *outputs)}
    reads = [of_view[view] for view in match.reads]
    operands = [of_view[view] for view in match.operands]
    outputs = [of_view[view] for view in match.outputs]
    if in_place is not None:
        outputs[0] = [*reads, *operands][match.shares[in_place]]
    for knob in family.knobs(match.problem, target)[:knobs]:
        for placed in of_view.values():
            placed.restore()
        run(family, match, knob, target, *([p.pointer for p in group] for group in (reads, operands, outputs)))
        if can_run(target):
            for output, truth in zip(outputs, truths, strict=False):  # results that nobody reads come last
                compare(output.window, truth, tolerance, knob)
            for placed in of_view.values():
                assert placed.unchanged(outside=placed in outputs), f"{knob} writes where it must not"
    skip_unless_run(target)
    return match


def _in_float64(operator: Any, arguments: Sequence[Any], after: After | None) -> list[Tensor]:
    """Return what is expected, computed in float64."""
    result = operator(*[a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments])
    expected = [result] if isinstance(result, Tensor) else list(result)
    if after is not None:
        expected[0] = after.reference(expected[0], *after.operands)
    return [tensor.float() if tensor.is_floating_point() else tensor for tensor in expected]


def dtype_name(dtype: torch.dtype) -> str:
    """Return numpy's name of a dtype."""
    return str(dtype).removeprefix("torch.")


def make_node(operator: Any, arguments: Sequence[Any], constants: Sequence[int], result: Any) -> Node:
    """Return a graph node that calls `operator`, described like those of an imported graph."""
    graph = Graph()
    nodes: list[Any] = []
    for position, argument in enumerate(arguments):
        if isinstance(argument, Tensor):
            name = f"x{position}"
            nodes.append(graph.create_node("get_attr" if position in constants else "placeholder", name, name=name))
            nodes[-1].meta["val"] = argument.to("meta")
        else:
            nodes.append(argument)
    node = graph.call_function(operator, tuple(nodes))
    node.meta["val"] = result.to("meta") if isinstance(result, Tensor) else tuple(item.to("meta") for item in result)
    return node


def run(
    family: Family,
    match: Match,
    knob: Any,
    target: Target,
    reads: Sequence[Pointer],
    operands: Sequence[Pointer],
    outputs: Sequence[Pointer],
) -> None:
    """Run one kernel over its units in up to four pieces; only compile it where it cannot run."""
    problem = match.problem
    function, units = family.emit(problem, knob, target), family.units(problem, knob)
    assert family.estimate(problem, knob, target) > 0
    packed = [Pointer(torch.from_numpy(array).reshape(-1)) for array in family.pack(problem, knob, match.tensors)]
    size_bytes = family.scratch_bytes(problem, knob)
    scratch = [Pointer(torch.full((size_bytes,), 255, dtype=torch.uint8))] if size_bytes else []
    pointers = [*reads, *packed, *operands, *outputs, *scratch]
    if can_run(target):
        execute(function, pointers, sorted({0, units // 3, min(units, units // 3 + 1), units}), target)
    else:
        assert assembly(function, target)


def compare(found: Tensor, truth: Tensor, tolerance: float, what: object) -> None:
    """Require equal integers, and floats within `tolerance` of the largest finite output."""
    assert found.dtype == truth.dtype, f"{found.dtype}, expected {truth.dtype}"
    if not truth.is_floating_point():
        assert torch.equal(found, truth), f"{what}: {(found != truth).sum().item()} of {truth.numel()} differ"
        return
    finite = truth[truth.isfinite()]
    scale = max(finite.abs().max().item(), 1e-6) if finite.numel() else 1.0
    assert torch.equal(found.isfinite(), truth.isfinite()), f"{what}: infinities or NaN in different places"
    error = (found - truth)[truth.isfinite()].abs().max().item() if finite.numel() else 0.0
    assert error <= tolerance * scale, f"{what}: error {error:.3g} of {scale:.3g}"
