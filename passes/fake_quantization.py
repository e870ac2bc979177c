"""Fake quantisation: rounding in float32 that has gradients. PyTorch's own operators do it."""

from torch.fx import Node

from prunus.passes.graph import aten, is_op

FAKE_ACTIVATION = aten._fake_quantize_learnable_per_tensor_affine.default
FAKE_WEIGHT = aten._fake_quantize_learnable_per_channel_affine.default
FAKES = (FAKE_ACTIVATION, FAKE_WEIGHT)


def fake_of(node: Node) -> Node | None:
    """Return the node that rounds a value, None where none does."""
    return next((user for user in node.users if is_op(user, FAKE_ACTIVATION)), None)
