"""In which order each value's dimensions should lie in memory, before any memory exists."""

from torch.fx import Node

from prunus.backends.kernels import FAMILIES
from prunus.backends.kernels.family import DimOrder
from prunus.backends.plan.program import Buffer, Storage
from prunus.backends.plan.views import VIEW_OPERATORS, dense, look, order_of
from prunus.passes.fuse import Group
from prunus.passes.graph import is_op, shape, value


def preferred_orders(groups: list[Group]) -> dict[Node, DimOrder]:
    """Return the order that suits the producer of each value; row-major for everything that is not listed."""
    orders: dict[Node, DimOrder] = {}
    for group in groups:
        node = group.output
        if not hasattr(node.meta["val"], "shape"):
            continue
        orders[node] = _order(group, orders)
    return orders


def _order(group: Group, orders: dict[Node, DimOrder]) -> DimOrder:
    node, rank = group.output, len(shape(group.output))
    if group.anchor is not None and not is_op(node, *VIEW_OPERATORS) and group.kind == "compute":
        family = next((family for family in FAMILIES if family.claims(group.anchor)), None)
        return family.order(group.anchor, {}, rank) if family is not None else tuple(range(rank))
    sources = group.inputs
    if is_op(node, *VIEW_OPERATORS):
        (source,) = sources
        fake = Buffer("", Storage.ARENA, "uint8", max(1, value(source).numel()))
        view = look(node, dense(fake, shape(source), orders.get(source)))
        return order_of(view) if view is not None else tuple(range(rank))
    for source in sources:
        if source in orders and len(orders[source]) == rank and value(source).numel() == value(node).numel():
            return orders[source]
    alike = [orders[source] for source in sources if source in orders and len(orders[source]) == rank]
    return alike[0] if alike else tuple(range(rank))
