"""The form that pruning and low rank know: one spelling for everything, parameters still trainable."""

from prunus.passes.graph import Graph, copy_graph


def canonical(graph: Graph) -> Graph:
    """Return a copy of a graph after the canonical passes; what they leave alone shares its tensors."""
    from prunus.passes import CANONICAL

    graph = copy_graph(graph)
    for one_pass in CANONICAL:
        graph = one_pass(graph)
    return graph
