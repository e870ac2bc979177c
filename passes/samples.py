"""Tensors out of whatever users give as inputs."""

from typing import Any

import torch
from torch.utils import _pytree as pytree


def as_tensors(example_inputs: Any) -> tuple[Any, ...] | None:
    """Return example inputs as a tuple, numpy arrays as tensors; a single tensor may stand alone."""
    if example_inputs is None:
        return None
    if isinstance(example_inputs, torch.Tensor) or hasattr(example_inputs, "__array__"):
        example_inputs = (example_inputs,)
    return tuple(pytree.tree_map(_as_tensor, item) for item in example_inputs)


def _as_tensor(leaf: Any) -> Any:
    return torch.as_tensor(leaf) if hasattr(leaf, "__array__") and not isinstance(leaf, torch.Tensor) else leaf
