"""Tensors out of whatever users give as inputs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from prunus.errors import InputError


def as_tensors(example_inputs: Any) -> tuple[Any, ...] | None:
    """Return example inputs as a tuple, numpy arrays as tensors; a single tensor may stand alone.

    Raises:
        InputError: inputs by name.
    """
    if isinstance(example_inputs, Mapping):
        raise InputError(
            "example_inputs has names", expected="a tuple of tensors in the order of the model's inputs",
            do="pass example_inputs=(x, y); keyword arguments of a module go into example_kwargs",
        )  # fmt: skip
    if example_inputs is None:
        return None
    if isinstance(example_inputs, torch.Tensor) or hasattr(example_inputs, "__array__"):
        example_inputs = (example_inputs,)
    return tuple(pytree.tree_map(_as_tensor, item) for item in example_inputs)


def _as_tensor(leaf: Any) -> Any:
    return torch.as_tensor(leaf) if hasattr(leaf, "__array__") and not isinstance(leaf, torch.Tensor) else leaf
