"""Where every value of a graph lies: in the caller's memory, in the library's constants, or in the arena."""

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.scalar_rules import dtype_of
from prunus.backends.plan.concat import Placement, place_concats
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.orders import preferred_orders
from prunus.backends.plan.program import Buffer, Storage, Tensor, View
from prunus.backends.plan.views import dense, is_dense, part
from prunus.passes.fuse import Group
from prunus.passes.graph import Graph, aten, get_constant, inputs, is_op, outputs, shape, value


class Values:
    """Views of values; memory is given out when a value's producer is planned.

    Attributes:
        views: of each value so far.
        constants: content of the buffers of constants; equal contents are one buffer.
        inputs: the library's inputs.
    """

    def __init__(self, graph: Graph, groups: list[Group]) -> None:
        self.views: dict[Node, View] = {}
        self.constants: dict[Buffer, np.ndarray] = {}
        self.inputs: list[Tensor] = []
        self._graph = graph
        self._orders = preferred_orders(groups)
        self._placements = place_concats(groups)
        self._buffers: dict[tuple[str, bytes], Buffer] = {}
        names = graph.meta.get("input_names") or [str(node.target) for node in inputs(graph)]
        for node, label in zip(inputs(graph), names, strict=True):
            buffer = Buffer(str(node.target), Storage.INPUT, dtype_of(node), value(node).numel())
            self.views[node] = dense(buffer, shape(node))
            self.inputs.append(Tensor(label, buffer.dtype, shape(node), buffer))
        self._results = self._assign_results({group.output for group in groups if group.kind != "view"})

    def _assign_results(self, produced: set[Node]) -> dict[Node, Buffer]:
        """Give the producer of each result the caller's memory, through reshapes where only they stand between."""
        found: dict[Node, Buffer] = {}
        for index, node in enumerate(outputs(self._graph)):
            source = node
            while is_op(source, aten.reshape.default, aten.view.default) and isinstance(source.args[0], Node):
                source = source.args[0]
            if source in produced and source not in found and source not in self._placements:
                found[source] = output_buffer(index, node)
        return found

    def order(self, node: Node) -> DimOrder:
        """Return the order in memory that suits a value."""
        return self._orders.get(node, tuple(range(len(shape(node)))))

    def is_result(self, node: Node) -> bool:
        """Tell whether a value is to be written into the caller's memory."""
        return node in self._results

    def of(self, node: Node) -> View:
        """Return where a value lies."""
        if node not in self.views:
            tensor = get_constant(self._graph, node)
            assert tensor is not None, f"{node} has no memory yet"
            self.views[node] = self.constant(tensor)
        return self.views[node]

    def allocate(self, node: Node, order: DimOrder, *, free: bool = False) -> View:
        """Return memory for a value: a part of a concatenation, the caller's, or the arena's.

        With `free`, always dense memory of the arena, for kernels that cannot write anywhere else.
        """
        in_arena = dense(Buffer(node.name, Storage.ARENA, dtype_of(node), value(node).numel()), shape(node), order)
        if free:
            return in_arena
        placement = self._placements.get(node)
        if placement is not None:
            return self._place(placement, order)
        buffer = self._results.get(node)
        if buffer is not None:
            view = dense(buffer, shape(node), order)
            if is_dense(view):
                return view
        return in_arena

    def _place(self, placement: Placement, order: DimOrder) -> View:
        whole = placement.whole
        if whole not in self.views:
            self.views[whole] = self.allocate(whole, self._orders.get(whole, order))
        return part(self.views[whole], placement.dim, placement.start, placement.length)

    def constant(self, tensor: torch.Tensor) -> View:
        """Return a view of a constant in the library, row-major."""
        return dense(self.constant_buffer(tensor.detach().cpu().numpy()), tuple(tensor.shape))

    def constant_buffer(self, array: np.ndarray) -> Buffer:
        """Return the buffer of a constant."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.name, array.tobytes())
        if key not in self._buffers:
            name = f"constant{len(self._buffers)}"
            self._buffers[key] = Buffer(name, Storage.CONSTANT, array.dtype.name, max(1, array.size))
            self.constants[self._buffers[key]] = array
        return self._buffers[key]


def output_buffer(index: int, node: Node) -> Buffer:
    """Return the caller's memory of result `index`, which is `node`."""
    return Buffer(f"output{index}", Storage.OUTPUT, dtype_of(node), value(node).numel())
