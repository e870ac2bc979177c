"""Graphs to programs: which kernel computes each fusion group, on which memory."""

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels import FAMILIES, by_name
from prunus.backends.kernels.expression import Accumulator, Expression, Operand
from prunus.backends.kernels.family import Family, Match, No, Request
from prunus.backends.kernels.scalar_rules import apply_rule, dtype_name, dtype_of, number
from prunus.backends.plan.arguments import tensor_arguments
from prunus.backends.plan.concat import Placement, place_concats
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.memory import plan_memory
from prunus.backends.plan.orders import preferred_orders
from prunus.backends.plan.program import Buffer, KernelSpec, Program, Step, Storage, Tensor, View
from prunus.backends.plan.views import broadcast, dense, is_dense, look, part
from prunus.errors import UnsupportedOperators
from prunus.passes.arguments import arguments
from prunus.passes.fuse import Group, fuse
from prunus.passes.graph import Graph, aten, get_constant, inputs, is_op, outputs, shape, value
from prunus.targets import Target


def plan(graph: Graph, *, name: str, target: Target, max_threads: int | None = None) -> Program:
    """Return the program of a graph: kernels with their first knobs, layouts, views, constants and memory.

    Args:
        graph: as the passes leave it.
        name: prefix of the library's symbols.
        target: what to compile for.
        max_threads: threads that the library has room for; the target's cores if None.

    Raises:
        UnsupportedOperators: operators that no family takes.
    """
    planner = _Planner(graph, target)
    for group in planner.groups:
        planner.plan_group(group)
    results = planner.finish_outputs()
    threads = max_threads or target.cores
    read = {view.buffer for step in planner.steps for view in step.arguments}
    return Program(
        name=name,
        target=target,
        inputs=tuple(planner.inputs),
        outputs=tuple(results),
        steps=tuple(planner.steps),
        constants={buffer: array for buffer, array in planner.constants.items() if buffer in read},
        arena=plan_memory(planner.steps, (), threads),
        max_threads=threads,
    )


class _Planner:
    """What is known so far: the view of every value, the steps, the constants."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.groups = fuse(graph)
        self.orders = preferred_orders(self.groups)
        self.placements = place_concats(self.groups)
        self.views: dict[Node, View] = {}
        self.copies: dict[tuple[View, DimOrder], View] = {}
        self.steps: list[Step] = []
        self.constants: dict[Buffer, np.ndarray] = {}
        self._packed: dict[tuple[str, bytes], Buffer] = {}
        self.inputs: list[Tensor] = []
        names = graph.meta.get("input_names") or [str(node.target) for node in inputs(graph)]
        for node, label in zip(inputs(graph), names, strict=True):
            buffer = Buffer(str(node.target), Storage.INPUT, dtype_of(node), value(node).numel())
            self.views[node] = dense(buffer, shape(node))
            self.inputs.append(Tensor(label, buffer.dtype, shape(node), buffer))
        self._output_buffers = self._assign_outputs()

    # Memory

    def _assign_outputs(self) -> dict[Node, Buffer]:
        """Give the producer of each result the caller's memory, through reshapes where only they stand between."""
        found: dict[Node, Buffer] = {}
        produced = {group.output for group in self.groups if group.kind != "view"}
        for index, node in enumerate(outputs(self.graph)):
            source = node
            while is_op(source, aten.reshape.default, aten.view.default) and isinstance(source.args[0], Node):
                source = source.args[0]
            if source in produced and source not in found and source not in self.placements:
                found[source] = Buffer(f"output{index}", Storage.OUTPUT, dtype_of(node), value(node).numel())
        return found

    def _allocate(self, node: Node, order: DimOrder, *, free: bool = False) -> View:
        """Return the memory of a value: a part of a concatenation, the caller's, or the arena's.

        With `free`, always dense memory of the arena, for kernels that cannot write anywhere else.
        """
        if free:
            return dense(Buffer(node.name, Storage.ARENA, dtype_of(node), value(node).numel()), shape(node), order)
        placement = self.placements.get(node)
        if placement is not None:
            return self._place(placement, order)
        buffer = self._output_buffers.get(node)
        if buffer is not None:
            view = dense(buffer, shape(node), order)
            if is_dense(view):
                return view
            del self._output_buffers[node]
        buffer = Buffer(node.name, Storage.ARENA, dtype_of(node), value(node).numel())
        return dense(buffer, shape(node), order)

    def _place(self, placement: Placement, order: DimOrder) -> View:
        whole = placement.whole
        if whole not in self.views:
            self.views[whole] = self._allocate(whole, self.orders.get(whole, order))
        return part(self.views[whole], placement.dim, placement.start, placement.length)

    def constant(self, tensor: torch.Tensor) -> View:
        """Return a view of a constant in the library, row-major."""
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        return dense(self._constant_buffer(array), tuple(tensor.shape))

    def _constant_buffer(self, array: np.ndarray) -> Buffer:
        key = (array.dtype.name, array.tobytes())
        if key not in self._packed:
            buffer = Buffer(f"constant{len(self._packed)}", Storage.CONSTANT, array.dtype.name, max(1, array.size))
            self._packed[key] = buffer
            self.constants[buffer] = array
        return self._packed[key]

    def view_of(self, node: Node) -> View:
        """Return where a value lies."""
        if node not in self.views:
            tensor = get_constant(self.graph, node)
            assert tensor is not None, f"{node} has no memory yet"
            self.views[node] = self.constant(tensor)
        return self.views[node]

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
        view = self.view_of(source)
        looked = look(node, view) or look(node, self.copy(view, tuple(range(len(view.shape))), source.name))
        assert looked is not None, f"{node} has no view of dense memory"
        self.views[node] = looked

    def _plan_concat(self, node: Node) -> None:
        if node not in self.views:
            self.views[node] = self._allocate(node, self.orders.get(node, tuple(range(len(shape(node))))))
        call = arguments(node)
        dim, start = call.dim % len(shape(node)), 0
        for source in call.tensors:
            length = shape(source)[dim]
            place = part(self.views[node], dim, start, length)
            if self.view_of(source) != place:
                self._copy_into(self.view_of(source), place, node.name)
            start += length

    def _plan_chain(self, group: Group) -> None:
        """A group of element-wise operators only."""
        expression, operands = self._epilogue(group, None)
        node = group.output
        output = self._allocate(node, self._order_of_chain(node, operands))
        request = Request(None, {}, {}, expression, operands, (output,))
        self._append(by_name("elementwise"), request, group)
        self.views[node] = output

    def _order_of_chain(self, node: Node, operands: Sequence[View]) -> DimOrder:
        if node in self._output_buffers:
            return tuple(range(len(shape(node))))
        full = [view for view in operands if 0 not in view.strides or view.shape == (1,) * len(view.shape)]
        if not full:
            return self.orders.get(node, tuple(range(len(shape(node)))))
        rank = range(len(shape(node)))
        return tuple(sorted(rank, key=lambda dim: (-full[0].strides[dim], -full[0].shape[dim], dim)))

    def _plan_anchor(self, group: Group) -> None:
        anchor = group.anchor
        assert anchor is not None
        reasons = []
        for family in FAMILIES:
            if not family.claims(anchor):
                continue
            answer = self._try(family, group)
            if answer is None:
                return
            reasons.append(f"{family.name}: {answer.reason}")
        described = ", ".join(str(tuple(shape(node))) for node in anchor.all_input_nodes)
        raise UnsupportedOperators(
            f"no kernel for {anchor.target} ({anchor.name}) of {described}: "
            + ("; ".join(reasons) or "no family claims it"),
            do="add a family under backends/kernels, or a pass that rewrites the operator",
        )

    def _try(self, family: Family, group: Group) -> No | None:
        """Plan a group with one family; None if that worked, and no trace if it did not."""
        anchor = group.anchor
        assert anchor is not None
        saved = (len(self.steps), dict(self.copies), dict(self.views))
        answer = self._plan_with(family, group, anchor)
        if answer is not None:
            del self.steps[saved[0] :]
            self.copies, self.views = saved[1], saved[2]
        return answer

    def _plan_with(self, family: Family, group: Group, anchor: Node) -> No | None:
        padding, views, constants = self._anchor_inputs(family, group, anchor)
        nodes = _result_nodes(group)
        expression, operands = self._epilogue(group, anchor)
        answer: No | None = None
        for free, as_views in itertools.product((False, True), (False, True) if constants else (False,)):
            results = tuple(self._result(family, anchor, node, views, free=free) for node in nodes)
            read, packed = views, constants
            if as_views:
                # Few families pack constants at every position; the others read them like any tensor.
                read, packed = views | {i: self.constant(tensor) for i, tensor in constants.items()}, {}
            answer = self._append(family, Request(anchor, read, packed, expression, operands, results, padding), group)
            if answer is None:
                self.views |= {n: view for n, view in zip(nodes, results, strict=True) if isinstance(n, Node)}
                return None
        return answer

    def _result(self, family: Family, anchor: Node, node: Node | int, views: dict[int, View], *, free: bool) -> View:
        """Return memory for one result of an anchor; an index stands for one that nobody reads."""
        if isinstance(node, Node):
            return self._allocate(node, family.order(anchor, views, len(shape(node))), free=free)
        unread = anchor.meta["val"][node]
        buffer = Buffer(f"{anchor.name}_{node}", Storage.ARENA, dtype_name(unread.dtype), max(1, unread.numel()))
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
            view = self.view_of(source)
            order = family.wants(anchor, position, view)
            views[position] = view if order is None else self.copy(view, order, source.name)
        return padding, views, constants

    def _epilogue(self, group: Group, anchor: Node | None) -> tuple[Expression, tuple[View, ...]]:
        """Return the expression of a group's element-wise operators, and the views that it reads."""
        known: dict[Node, Expression] = {}
        operands: list[View] = []
        result_shape = shape(group.output) if isinstance(group.output.meta["val"], torch.Tensor) else ()
        if anchor is not None and isinstance(anchor.meta["val"], torch.Tensor):
            known[anchor] = Accumulator(dtype_of(anchor))
        inside = set(group.nodes)

        def read(node: Node) -> Expression:
            tensor = get_constant(self.graph, node)
            if tensor is not None and tensor.numel() == 1:
                return number(tensor.item(), dtype_name(tensor.dtype))
            view = broadcast(self.view_of(node), result_shape)
            if view not in operands:
                operands.append(view)
            return Operand(operands.index(view), view.buffer.dtype)

        for node in group.nodes:
            if node is anchor or node not in inside or _before(node, anchor) or node.target is operator.getitem:
                continue
            for source in node.all_input_nodes:
                if source not in known:
                    known[source] = read(source)
            known[node] = apply_rule(node, known)
        return known.get(group.output, Accumulator()), tuple(operands)

    # Steps

    def copy(self, view: View, order: DimOrder, name: str) -> View:
        """Return the same values, dense in `order`: as they are, an earlier copy, or a new one."""
        wanted = dense(
            Buffer(f"{name}_copy", Storage.ARENA, view.buffer.dtype, max(1, math.prod(view.shape))), view.shape, order
        )
        same = all(
            size == 1 or own == new for size, own, new in zip(view.shape, view.strides, wanted.strides, strict=True)
        )
        if same:
            return view
        key = (view, order)
        if key not in self.copies:
            self._copy_into(view, wanted, name)
            self.copies[key] = wanted
        return self.copies[key]

    def _copy_into(self, source: View, destination: View, name: str) -> None:
        expression = Operand(0, source.buffer.dtype)
        request = Request(None, {}, {}, expression, (source,), (destination,))
        self._append(by_name("elementwise"), request, None, name)

    def _append(self, family: Family, request: Request, group: Group | None, name: str = "") -> No | None:
        match = family.match(request, self.target)
        if isinstance(match, No):
            return match
        knob = family.knobs(match.problem, self.target)[0]
        self.steps.append(self._step(family, match, knob, group, name))
        return None

    def _step(self, family: Family, match: Match, knob: Any, group: Group | None, name: str) -> Step:
        packed = []
        for array in family.pack(match.problem, knob, match.tensors):
            buffer = self._constant_buffer(array)
            packed.append(dense(buffer, (buffer.size,)))
        arguments = (*match.reads, *packed, *match.operands, *match.outputs)
        count = len(match.reads)
        return Step(
            kernel=KernelSpec(family.name, match.problem, knob),
            arguments=arguments,
            writes=tuple(range(len(arguments) - len(match.outputs), len(arguments))),
            units=family.units(match.problem, knob),
            scratch_bytes=family.scratch_bytes(match.problem, knob),
            shares=tuple(position if position < count else position + len(packed) for position in match.shares),
            nodes=tuple(node.name for node in group.nodes) if group is not None else (f"copy of {name}",),
            operators=group.operators if group is not None else (),
            macs=match.macs,
            cost_cycles=family.estimate(match.problem, knob, self.target),
        )

    # Results

    def finish_outputs(self) -> list[Tensor]:
        """Copy results that do not lie in the caller's memory yet, and describe all of them."""
        results = []
        nodes = outputs(self.graph)
        plain = ["output"] if len(nodes) == 1 else [f"output_{index}" for index in range(len(nodes))]
        names = self.graph.meta.get("output_names") or plain
        taken: set[Buffer] = set()
        for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
            view = self.view_of(node)
            buffer = view.buffer
            if buffer.storage is not Storage.OUTPUT or buffer in taken or not is_dense(view) or view.offset:
                buffer = Buffer(f"output{index}", Storage.OUTPUT, dtype_of(node), value(node).numel())
                self._copy_into(view, dense(buffer, shape(node)), name)
            taken.add(buffer)
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


def _before(node: Node, anchor: Node | None) -> bool:
    """Tell whether a node of a group feeds the anchor: padding in front of a convolution."""
    return anchor is not None and node in anchor.all_input_nodes
