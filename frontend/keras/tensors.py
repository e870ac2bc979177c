"""Tensors of whatever runs Keras (PyTorch, TensorFlow, JAX) as PyTorch's."""

from typing import Any

import keras
import numpy as np
import torch

from prunus.errors import ImportModelError

_HALVES = ("float16", "bfloat16")


def torch_dtype(name: str) -> torch.dtype:
    """Return PyTorch's dtype for Keras' name; halves of mixed precision are computed in float32.

    Raises:
        ImportModelError: a dtype that no library computes with, `string`.
    """
    dtype = torch.float32 if name in _HALVES else getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ImportModelError(
            f"tensors of dtype {name!r}", expected="numbers or booleans",
            do="leave text and look-ups to the program around the model",
        )  # fmt: skip
    return dtype


def tensor_from(tensor: Any) -> torch.Tensor:
    """Return a copy of a variable, a backend's tensor or an array; halves as float32."""
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    dtype = torch_dtype(str(array.dtype))
    if str(array.dtype) in _HALVES:
        array = array.astype(np.float32)
    return torch.tensor(array, dtype=dtype)
