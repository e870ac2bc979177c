"""Nodes that round in float32, and where they stand."""

import torch
from torch.fx import Node

from prunus.passes.graph import is_op
from prunus.passes.operators import fake_quantize  # noqa: F401  registers the operator

FAKE = torch.ops.prunus.fake_quantize.default


def fake_of(node: Node) -> Node | None:
    """Return the node that rounds a value, None where none does."""
    return next((user for user in node.users if is_op(user, FAKE)), None)
