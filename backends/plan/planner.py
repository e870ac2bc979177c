"""Graphs to programs: which kernel computes each fusion group, on which memory."""

import itertools
import math
import operator
from collections.abc import Sequence

import torch
from torch.fx import Node

from prunus.backends.kernels import FAMILIES, by_name
from prunus.backends.kernels.expression import Operand
from prunus.backends.kernels.family import Family, Match, No, Request
from prunus.backends.kernels.scalar_rules import dtype_name
from prunus.backends.plan.arguments import tensor_arguments
from prunus.backends.plan.epilogue import describe_epilogue
from prunus.backends.plan.knobs import Choice, KnobChooser, first_guess
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.memory import plan_memory
from prunus.backends.plan.program import Buffer, KernelSpec, Program, Step, Storage, Tensor, View
from prunus.backends.plan.values import Values, output_buffer
from prunus.backends.plan.views import dense, is_dense, look, part
from prunus.errors import UnsupportedOperators
from prunus.passes.arguments import arguments
from prunus.passes.fuse import Group, fuse
from prunus.passes.graph import Graph, aten, get_constant, is_op, outputs, shape
from prunus.targets import Target


def plan(
    graph: Graph, *, name: str, target: Target, max_threads: int | None = None, knobs: KnobChooser = first_guess
) -> Program:
    """Return the program of a graph: kernels with their knobs, layouts, views, constants and memory.

    Args:
        graph: as the passes leave it.
        name: prefix of the library's symbols.
        target: what to compile for.
        max_threads: threads that the library has room for; the target's cores if None.
        knobs: chooses the way of computing each kernel, by default the first that its family names.

    Raises:
        UnsupportedOperators: operators that no family takes.
    """
    planner = _Planner(graph, target, knobs)
    for group in planner.groups:
        planner.plan_group(group)
    results = planner.finish_outputs()
    threads = max_threads or target.cores
    read = {view.buffer for step in planner.steps for view in step.arguments}
    return Program(
        name=name,
        target=target,
        inputs=tuple(planner.values.inputs),
        outputs=tuple(results),
        steps=tuple(planner.steps),
        constants={buffer: array for buffer, array in planner.values.constants.items() if buffer in read},
        arena=plan_memory(planner.steps, (), threads),
        max_threads=threads,
    )


class _Planner:
    """The steps so far."""

    def __init__(self, graph: Graph, target: Target, knobs: KnobChooser) -> None:
        self.graph, self.target, self.knobs = graph, target, knobs
        self.groups = fuse(graph)
        self.values = Values(graph, self.groups)
        self.copies: dict[tuple[View, DimOrder], View] = {}
        self.steps: list[Step] = []

    # Groups

    def plan_group(self, group: Group) -> None:
        """Append the steps of one group and note where its result lies."""
        if group.kind == "view":
            self._plan_view(group.output)
        elif group.kind == "cat":
            self._plan_concat(group.output)
        elif group.anchor is None:
            self._plan_chain(group)
        else:
            self._plan_anchor(group)

    def _plan_view(self, node: Node) -> None:
        source = node.args[0]
        assert isinstance(source, Node)
        view = self.values.of(source)
        looked = look(node, view) or look(node, self.copy(view, tuple(range(len(view.shape))), source.name))
        assert looked is not None, f"{node} has no view of dense memory"
        self.values.views[node] = looked

    def _plan_concat(self, node: Node) -> None:
        if node not in self.values.views:
            self.values.views[node] = self.values.allocate(node, self.values.order(node))
        call = arguments(node)
        dim, start = call.dim % len(shape(node)), 0
        for source in call.tensors:
            length = shape(source)[dim]
            place = part(self.values.views[node], dim, start, length)
            if self.values.of(source) != place:
                self._copy_into(self.values.of(source), place, node.name)
            start += length

    def _plan_chain(self, group: Group) -> None:
        """A group of element-wise operators only."""
        expression, operands = describe_epilogue(group, self.graph, self.values.of)
        node = group.output
        output = self.values.allocate(node, self._order_of_chain(node, operands))
        self._append_chain(Request(None, {}, {}, expression, operands, (output,)), group)
        self.values.views[node] = output

    def _order_of_chain(self, node: Node, operands: Sequence[View]) -> DimOrder:
        if self.values.is_result(node):
            return tuple(range(len(shape(node))))
        full = [view for view in operands if 0 not in view.strides or view.shape == (1,) * len(view.shape)]
        if not full:
            return self.values.order(node)
        rank = range(len(shape(node)))
        return tuple(sorted(rank, key=lambda dim: (-full[0].strides[dim], -full[0].shape[dim], dim)))

    def _plan_anchor(self, group: Group) -> None:
        """A group around an operator: with the first family that takes it, its padding apart if none does."""
        refusals = self._refusals(group)
        if not refusals:
            return
        padding, rest = _apart(group)
        if padding is not None:
            self.plan_group(padding)
            self.plan_group(rest)
            return
        anchor = group.anchor
        assert anchor is not None
        described = ", ".join(str(tuple(shape(node))) for node in anchor.all_input_nodes)
        raise UnsupportedOperators(
            f"no kernel for {anchor.target} ({anchor.name}) of {described}: {'; '.join(refusals)}",
            do="add a family of kernels or a pass that rewrites the operator; float64 models: `model.float()`",
        )

    def _refusals(self, group: Group) -> list[str]:
        """Plan a group with the first family that takes it; else return why none does."""
        anchor = group.anchor
        assert anchor is not None
        reasons = []
        for family in FAMILIES:
            if family.claims(anchor):
                answer = self._try(family, group)
                if answer is None:
                    return []
                reasons.append(f"{family.name}: {answer.reason}")
        return reasons or ["no family claims it"]

    def _try(self, family: Family, group: Group) -> No | None:
        """Plan a group with one family; None if that worked, and no trace if it did not."""
        anchor = group.anchor
        assert anchor is not None
        saved = (len(self.steps), dict(self.copies), dict(self.values.views))
        answer = self._plan_with(family, group, anchor)
        if answer is not None:
            del self.steps[saved[0] :]
            self.copies, self.values.views = saved[1], saved[2]
        return answer

    def _plan_with(self, family: Family, group: Group, anchor: Node) -> No | None:
        padding, views, constants = self._anchor_inputs(family, group, anchor)
        nodes = _result_nodes(group)
        expression, operands = describe_epilogue(group, self.graph, self.values.of)
        first_refusal: No | None = None
        for free, as_views in itertools.product((False, True), (False, True) if constants else (False,)):
            results = tuple(self._result(family, anchor, node, views, free=free) for node in nodes)
            read, packed = views, constants
            if as_views:
                # Few families pack constants at every position; the others read them like any tensor.
                read, packed = views | {i: self.values.constant(tensor) for i, tensor in constants.items()}, {}
            request = Request(anchor, read, packed, expression, operands, results, padding)
            refusal = self._append(family, request, group)
            if refusal is None:
                self.values.views |= {n: view for n, view in zip(nodes, results, strict=True) if isinstance(n, Node)}
                return None
            first_refusal = first_refusal or refusal
        return first_refusal

    def _result(self, family: Family, anchor: Node, node: Node | int, views: dict[int, View], *, free: bool) -> View:
        """Return memory for one result of an anchor; an index stands for one that nobody reads."""
        if isinstance(node, Node):
            return self.values.allocate(node, family.order(anchor, views, len(shape(node))), free=free)
        unread = anchor.meta["val"][node]
        buffer = Buffer(f"{anchor.name}.{node}", Storage.ARENA, dtype_name(unread.dtype), max(1, unread.numel()))
        return dense(buffer, tuple(unread.shape))

    def _anchor_inputs(
        self, family: Family, group: Group, anchor: Node
    ) -> tuple[tuple[tuple[int, int], ...], dict[int, View], dict[int, torch.Tensor]]:
        """Return padding that was a node of its own, views and constants of the anchor's arguments by position."""
        padding: tuple[tuple[int, int], ...] = ()
        views: dict[int, View] = {}
        constants: dict[int, torch.Tensor] = {}
        for position, argument in tensor_arguments(anchor):
            source = argument
            if source in group.nodes and is_op(source, aten.constant_pad_nd.default):
                pads: list[int] = source.args[1]  # type: ignore[assignment]
                padding = tuple(zip(pads[::2], pads[1::2], strict=True))[::-1]
                source = source.args[0]  # type: ignore[assignment]
            tensor = get_constant(self.graph, source)
            if tensor is not None:
                constants[position] = tensor
                continue
            view = self.values.of(source)
            order = family.wants(anchor, position, view)
            views[position] = view if order is None else self.copy(view, order, source.name)
        return padding, views, constants

    # Steps

    def copy(self, view: View, order: DimOrder, name: str) -> View:
        """Return the same values, dense in `order`: as they are, an earlier copy, or a new one."""
        # Names of nodes have no dots.
        buffer = Buffer(f"{name}.{len(self.copies)}", Storage.ARENA, view.buffer.dtype, max(1, math.prod(view.shape)))
        wanted = dense(buffer, view.shape, order)
        pairs = zip(view.shape, view.strides, wanted.strides, strict=True)
        if all(size == 1 or own == new for size, own, new in pairs):
            return view
        key = (view, order)
        if key not in self.copies:
            self._copy_into(view, wanted, name)
            self.copies[key] = wanted
        return self.copies[key]

    def _copy_into(self, source: View, destination: View, name: str) -> None:
        expression = Operand(0, source.buffer.dtype)
        self._append_chain(Request(None, {}, {}, expression, (source,), (destination,)), None, name)

    def _append_chain(self, request: Request, group: Group | None, name: str = "") -> None:
        refusal = self._append(by_name("elementwise"), request, group, name)
        assert refusal is None, refusal

    def _append(self, family: Family, request: Request, group: Group | None, name: str = "") -> No | None:
        match = family.match(request, self.target)
        if isinstance(match, No):
            return match
        self.steps.append(self._step(family, match, self.knobs(family, match, self.target), group, name))
        return None

    def _step(self, family: Family, match: Match, choice: Choice, group: Group | None, name: str) -> Step:
        packed, knob = [], choice.knob
        for array in family.pack(match.problem, knob, match.tensors):
            buffer = self.values.constant_buffer(array)
            packed.append(dense(buffer, (buffer.size,)))
        views = (*match.reads, *packed, *match.operands, *match.outputs)
        count = len(match.reads)
        return Step(
            kernel=KernelSpec(family.name, match.problem, knob),
            arguments=views,
            writes=tuple(range(len(views) - len(match.outputs), len(views))),
            units=family.units(match.problem, knob),
            scratch_bytes=family.scratch_bytes(match.problem, knob),
            shares=tuple(position if position < count else position + len(packed) for position in match.shares),
            nodes=tuple(node.name for node in group.nodes) if group is not None else (f"copy of {name}",),
            operators=group.operators if group is not None else (),
            macs=match.macs,
            cost_cycles=family.estimate(match.problem, knob, self.target),
            tuned=choice.tuned,
        )

    # Results

    def finish_outputs(self) -> list[Tensor]:
        """Copy results that do not lie in the caller's memory yet, and describe all of them."""
        results = []
        nodes = outputs(self.graph)
        plain = ["output"] if len(nodes) == 1 else [f"output_{index}" for index in range(len(nodes))]
        names = self.graph.meta.get("output_names") or plain
        for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
            view, buffer = self.values.of(node), output_buffer(index, node)
            if view.buffer != buffer or not is_dense(view):
                self._copy_into(view, dense(buffer, shape(node)), name)
            results.append(Tensor(name, buffer.dtype, shape(node), buffer))
        return results


def _result_nodes(group: Group) -> list[Node | int]:
    """Return the node of each result of the group's anchor, or its index where nobody reads it."""
    anchor = group.anchor
    assert anchor is not None
    if isinstance(anchor.meta["val"], torch.Tensor):
        return [group.output]
    items = {user.args[1]: user for user in anchor.users if user.target is operator.getitem}
    return [items.get(index, index) for index in range(len(anchor.meta["val"]))]


def _apart(group: Group) -> tuple[Group | None, Group]:
    """Return the zero padding in front of a group's anchor, None if there is none, and the group without it."""
    anchor = group.anchor
    assert anchor is not None
    for node in group.nodes:
        if node in anchor.all_input_nodes and is_op(node, aten.constant_pad_nd.default):
            others = tuple(other for other in group.nodes if other is not node)
            return Group((node,), node, node), Group(others, anchor, group.output)
    return None, group
