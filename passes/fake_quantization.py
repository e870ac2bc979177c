"""Fake quantisation: rounding in float32 that has gradients. PyTorch's own operators do it."""

from torch.fx import Node

from prunus.passes.graph import Graph, aten, calls, copy_graph, is_op, tidy

FAKE_ACTIVATION = aten._fake_quantize_learnable_per_tensor_affine.default
FAKE_WEIGHT = aten._fake_quantize_learnable_per_channel_affine.default
FAKES = (FAKE_ACTIVATION, FAKE_WEIGHT)


def without_fakes(graph: Graph) -> Graph:
    """Return a copy that does not round; other nodes keep their names."""
    exact = copy_graph(graph)
    for node in calls(exact, *FAKES):
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    return tidy(exact)


def fake_of(node: Node) -> Node | None:
    """Return the node that rounds a value, None where none does."""
    return next((user for user in node.users if is_op(user, FAKE_ACTIVATION)), None)
