"""Layered drawings of directed acyclic graphs, after Sugiyama, Tagawa and Toda (1981).

Each node stands a layer below the lowest that it follows; edges over several layers bend once a layer; barycentres
order the layers so that few edges cross; averages of neighbours move nodes sideways.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx

Node = Any
_BEND_WIDTH = 12.0
_SWEEPS = 6


@dataclass(frozen=True)
class Drawing:
    """Where everything lies; x counts in the unit of the nodes' widths, y counts layers.

    Attributes:
        places: middle of each node.
        paths: the points of each edge, from the middle of its source to the middle of its end.
        width: of the whole drawing.
        layers: number of layers.
    """

    places: dict[Node, tuple[float, int]]
    paths: dict[tuple[Node, Node], list[tuple[float, int]]]
    width: float
    layers: int


def draw(graph: "networkx.DiGraph[Node]", width: Callable[[Node], float], gap: float) -> Drawing:
    """Return the drawing of an acyclic graph.

    Args:
        graph: its order of nodes decides where the rest does not.
        width: of the box of a node.
        gap: least room between two boxes.
    """
    layer = {node: level for level, row in enumerate(networkx.topological_generations(graph)) for node in row}
    chains = {(source, end): _chain(source, end, layer) for source, end in graph.edges}
    rows = _rows(layer, chains.values())
    above, below = _neighbours(chains.values())
    for sweep in range(_SWEEPS):
        _order(rows, above if sweep % 2 == 0 else below)

    def size(item: Node) -> float:
        return width(item) if item in layer else _BEND_WIDTH

    x = _spread(rows, above, below, size, gap)
    left = min((x[item] - size(item) / 2 for item in x), default=0.0)
    right = max((x[item] + size(item) / 2 for item in x), default=0.0)
    height = {item: level for level, row in enumerate(rows) for item in row}
    spots = {item: (x[item] - left, height[item]) for item in x}
    return Drawing(
        places={node: spots[node] for node in graph.nodes},
        paths={edge: [spots[item] for item in chain] for edge, chain in chains.items()},
        width=right - left,
        layers=len(rows),
    )


def _chain(source: Node, end: Node, layer: dict[Node, int]) -> list[Node]:
    """Return an edge with its bends; all long edges of one source share theirs."""
    return [source, *(("bend", source, level) for level in range(layer[source] + 1, layer[end])), end]


def _rows(layer: dict[Node, int], chains: Iterable[list[Node]]) -> list[list[Node]]:
    rows: list[dict[Node, None]] = [{} for _ in range(max(layer.values(), default=-1) + 1)]
    for node, level in layer.items():
        rows[level][node] = None
    for chain in chains:
        for step, item in enumerate(chain):
            rows[layer[chain[0]] + step][item] = None
    return [list(row) for row in rows]


def _neighbours(chains: Iterable[list[Node]]) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _order(rows: list[list[Node]], neighbours: dict[Node, list[Node]]) -> None:
    place = {item: index - len(row) / 2 for row in rows for index, item in enumerate(row)}
    for row in rows:
        row.sort(key=lambda item: _mean([place[other] for other in neighbours.get(item, ())], place[item]))
        place |= {item: index - len(row) / 2 for index, item in enumerate(row)}


def _spread(
    rows: list[list[Node]],
    above: dict[Node, list[Node]],
    below: dict[Node, list[Node]],
    size: Callable[[Node], float],
    gap: float,
) -> dict[Node, float]:
    x: dict[Node, float] = {item: 0.0 for row in rows for item in row}
    for _ in range(_SWEEPS):
        for row in rows:
            wanted = [_mean([x[other] for other in (*above.get(i, ()), *below.get(i, ()))], x[i]) for i in row]
            placed: list[float] = []
            for index, item in enumerate(row):
                least = placed[-1] + (size(row[index - 1]) + size(item)) / 2 + gap if placed else wanted[index]
                placed.append(max(wanted[index], least))
            shift = _mean([want - got for want, got in zip(wanted, placed, strict=True)], 0.0)
            x |= {item: got + shift for item, got in zip(row, placed, strict=True)}
    return x


def _mean(numbers: list[float], default: float) -> float:
    return sum(numbers) / len(numbers) if numbers else default
