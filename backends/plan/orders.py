"""In which order each value's dimensions should lie in memory, before any memory exists."""

import torch
from torch.fx import Node

from prunus.backends.kernels import FAMILIES
from prunus.backends.kernels.scalar_rules import dtype_of
from prunus.backends.plan.arguments import tensor_arguments
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import Buffer, Storage, View
from prunus.backends.plan.views import VIEW_OPERATORS, dense, look, order_of
from prunus.passes.fuse import Group
from prunus.passes.graph import is_op, shape, value


def preferred_orders(groups: list[Group]) -> dict[Node, DimOrder]:
    """Return the order that suits the producer of each value; row-major for everything that is not listed."""
    orders: dict[Node, DimOrder] = {}
    anchored: set[Node] = set()
    for group in groups:
        if not isinstance(group.output.meta["val"], torch.Tensor):
            continue
        orders[group.output] = (
            _order_of_concat(group, orders, anchored) if group.kind == "cat" else _order(group, orders)
        )
        if group.kind == "compute" and group.anchor is not None:
            anchored.add(group.output)
    return orders


def _order_of_concat(group: Group, orders: dict[Node, DimOrder], anchored: set[Node]) -> DimOrder:
    """Return the order of most elements: kernels with anchors write in their own, element-wise ones in any."""
    sources = [source for source in group.inputs if source in orders]
    weights: dict[DimOrder, int] = {}
    for source in [source for source in sources if source in anchored] or sources:
        weights[orders[source]] = weights.get(orders[source], 0) + value(source).numel()
    return max(weights, key=lambda order: weights[order], default=tuple(range(len(shape(group.output)))))


def _order(group: Group, orders: dict[Node, DimOrder]) -> DimOrder:
    node, rank = group.output, len(shape(group.output))
    if group.kind == "compute" and group.anchor is not None:
        family = next((family for family in FAMILIES if family.claims(group.anchor)), None)
        if family is None:
            return tuple(range(rank))
        views = {position: _imagined(source, orders) for position, source in tensor_arguments(group.anchor)}
        return family.order(group.anchor, views, rank)
    sources = group.inputs
    if is_op(node, *VIEW_OPERATORS):
        view = look(node, _imagined(sources[0], orders))
        return order_of(view) if view is not None else tuple(range(rank))
    for source in sources:
        if source in orders and len(orders[source]) == rank and value(source).numel() == value(node).numel():
            return orders[source]
    alike = [orders[source] for source in sources if source in orders and len(orders[source]) == rank]
    return alike[0] if alike else tuple(range(rank))


def _imagined(node: Node, orders: dict[Node, DimOrder]) -> View:
    """Return the view that a value would have if it were dense in its order."""
    buffer = Buffer(node.name, Storage.ARENA, dtype_of(node), max(1, value(node).numel()))
    return dense(buffer, shape(node), orders.get(node))
