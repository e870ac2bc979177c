"""Take dropout out of a graph in evaluation mode."""

from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, calls, tidy
from prunus.passes.reasons import no

DROPOUT = (
    aten.dropout.default,
    aten.feature_dropout.default,
    aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
)


def remove_dropout(graph: Graph) -> Graph:
    """Remove dropout, which only training needs.

    before:  x -> dropout(p, train=False) -> y
    after:   x -> y
    """
    for node in calls(graph, *DROPOUT):
        call = arguments(node)
        if call.train and call.p > 0:
            no("dropout is in training mode", node)
            continue
        node.replace_all_uses_with(call.input)
        graph.graph.erase_node(node)
    return tidy(graph)
