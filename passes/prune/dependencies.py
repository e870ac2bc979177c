"""The dependency graph: which dimensions of which tensors are cut together, and by way of which calls."""

from itertools import combinations

import networkx as nx
import numpy as np

from prunus.passes.prune.atoms import Labels
from prunus.passes.prune.trace import Trace

Place = tuple[str, int, int]
"""A node by name, the number of one of its results, and a dimension."""


def dependency_graph(trace: Trace) -> nx.Graph:
    """Return a graph over (node, result, dimension).

    Two places are joined where a call reads or returns both and they share a class: a cut moves from one to the other.
    The edge's attribute `call` names the call.
    """
    graph = nx.Graph()
    for name, results in trace.dims.items():
        graph.add_nodes_from((name, number, dim) for number, dims in enumerate(results) for dim in range(len(dims)))
    for node in trace.graph.graph.nodes:
        if node.name not in trace.dims:
            continue
        around = {place: labels for one in (*node.all_input_nodes, node) for place, labels in _places(trace, one.name)}
        for first, second in combinations(around, 2):
            if first[0] != second[0] and _share(around[first], around[second]):
                graph.add_edge(first, second, call=node.name)
    return graph


def way(dependencies: nx.Graph, trace: Trace, one: int, start: Place, end: str) -> tuple[str, ...]:
    """Return the nodes by which class `one` reaches node `end` from a place, the shortest way; () where it does not."""
    holding = [place for place in dependencies if one in trace.dims[place[0]][place[1]][place[2]]]
    inside = dependencies.subgraph(holding)
    ends = [place for place in inside if place[0] == end]
    if start not in inside or not ends:
        return ()
    paths = nx.single_source_shortest_path(inside, start)
    found = [paths[place] for place in ends if place in paths]
    return tuple(name for name, _, _ in min(found, key=len)) if found else ()


def _places(trace: Trace, name: str) -> list[tuple[Place, Labels]]:
    return [
        ((name, number, dim), labels)
        for number, dims in enumerate(trace.dims.get(name, ()))
        for dim, labels in enumerate(dims)
    ]


def _share(first: Labels, second: Labels) -> bool:
    return first is second or bool(np.isin(first, second).any())
