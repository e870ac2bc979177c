"""Layered drawings: edges point down, boxes stand apart, paths join what they should."""

from itertools import pairwise

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.report.layers import Drawing, draw

GAP = 5.0


def width(node: object) -> float:
    return 10.0 + 7 * (hash(node) % 5)


def graph_of(edges: list[tuple[int, int]], nodes: int) -> "networkx.DiGraph[int]":
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edges)
    return graph


def check(graph: "networkx.DiGraph[int]", drawing: Drawing) -> None:
    assert set(drawing.places) == set(graph.nodes)
    assert set(drawing.paths) == set(graph.edges)
    for (source, end), path in drawing.paths.items():
        assert (path[0], path[-1]) == (drawing.places[source], drawing.places[end])
        layers = [layer for _, layer in path]
        assert layers == list(range(layers[0], layers[0] + len(path)))
        assert len(path) > 1
    rows: dict[int, list[tuple[float, float]]] = {}
    for node, (x, layer) in drawing.places.items():
        left, right = x - width(node) / 2, x + width(node) / 2
        assert left >= -1e-6
        assert right <= drawing.width + 1e-6
        assert 0 <= layer < drawing.layers
        rows.setdefault(layer, []).append((left, right))
    for row in rows.values():
        ordered = sorted(row)
        for (_, right), (left, _) in pairwise(ordered):
            assert left - right >= GAP - 1e-6


@st.composite
def graphs(draw_from: st.DrawFn) -> "networkx.DiGraph[int]":
    nodes = draw_from(st.integers(1, 12))
    pairs = [(a, b) for a in range(nodes) for b in range(a + 1, nodes)]
    edges = draw_from(st.lists(st.sampled_from(pairs), max_size=25)) if pairs else []
    return graph_of(edges, nodes)


@given(graphs())
def test_any_graph(graph: "networkx.DiGraph[int]") -> None:
    check(graph, draw(graph, width, GAP))


def test_chain_is_straight() -> None:
    drawing = draw(graph_of([(0, 1), (1, 2), (2, 3)], 4), width, GAP)
    xs = {round(x, 6) for x, _ in drawing.places.values()}
    assert len(xs) == 1
    assert drawing.layers == 4


def test_no_crossing_where_none_is_needed() -> None:
    """0 feeds 2, 1 feeds 3, listed the wrong way round."""
    drawing = draw(graph_of([(0, 3), (1, 2)], 4), width, GAP)
    x = {node: place[0] for node, place in drawing.places.items()}
    assert (x[0] < x[1]) == (x[3] < x[2])


def test_empty_graph() -> None:
    assert draw(graph_of([], 0), width, GAP) == Drawing({}, {}, 0.0, 0)


@pytest.mark.parametrize("order", [0, 1])
def test_same_graph_same_drawing(order: int) -> None:
    graph = graph_of([(0, 2), (1, 2), (0, 3), (2, 4), (3, 4)], 5)
    assert draw(graph, width, GAP) == draw(graph.copy(), width, GAP)
