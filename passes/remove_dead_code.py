"""Drop what nobody reads."""

from prunus.passes.graph import Graph, tidy


def remove_dead_code(graph: Graph) -> Graph:
    """Drop calls whose results nobody reads, with their parameters and buffers.

    before:  x -> relu -> y;  x -> sigmoid
    after:   x -> relu -> y
    """
    return tidy(graph)
