"""What holds for the groups of every graph."""

from prunus.passes import Graph, Group
from prunus.passes.graph import calls, value


def check_groups(graph: Graph, groups: list[Group]) -> None:
    """Every call is in one group; the order can be run; nothing but the output is read outside."""
    members = [node for group in groups for node in group.nodes]
    assert len(members) == len(set(members))
    assert set(members) == set(calls(graph))
    ready = {node for node in graph.graph.nodes if node.op in ("placeholder", "get_attr")}
    for group in groups:
        assert set(group.inputs) <= ready
        ready.update(group.nodes)
        inside = set(group.nodes)
        several = isinstance(group.output.meta["val"], tuple | list)
        read_outside = {node for node in group.nodes if any(user not in inside for user in node.users)}
        assert read_outside <= (inside if several else {group.output})
        if group.anchor is not None and group.takes_epilogue:
            after = group.nodes[group.nodes.index(group.anchor) :]
            assert all(value(node).shape == value(group.output).shape for node in after)
