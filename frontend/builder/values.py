"""What a value of another framework becomes: a constant that is known now, or a node of the graph."""

import torch
from torch.fx import Node

Value = torch.Tensor | Node
"""A constant (evaluated while importing) or a node (evaluated when the model runs)."""


def tensor_of(value: Value) -> torch.Tensor:
    """Return the constant itself, or the fake tensor that describes what a node produces."""
    if isinstance(value, Node):
        described = value.meta["val"]
        assert isinstance(described, torch.Tensor)
        return described
    return value


def shape_of(value: Value) -> tuple[int, ...]:
    """Return the static shape of a value."""
    return tuple(int(size) for size in tensor_of(value).shape)


def rank_of(value: Value) -> int:
    """Return the number of dimensions of a value."""
    return tensor_of(value).dim()


def dtype_of(value: Value) -> torch.dtype:
    """Return the dtype of a value."""
    return tensor_of(value).dtype


def scalar_of(value: Value, beside: Value) -> float | int | bool | None:
    """Return a one-element constant as a Python number, as `torch.export` writes `x * 0.5`.

    None where that would change the result's shape or dtype in an operation with `beside`, or for other values.
    """
    if isinstance(value, Node) or value.numel() != 1:
        return None
    if value.dim() > rank_of(beside) or value.dtype != dtype_of(beside):
        return None
    return value.item()


def normalized_axis(axis: int, rank: int) -> int:
    """Count an axis from the front."""
    return axis + rank if axis < 0 else axis
