"""A bound on what is worked out while importing."""

import math
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_aggregate
from torch.utils._pytree import tree_leaves

from prunus.errors import UnsafeModel
from prunus.passes.graph import aten

_LARGEST_BYTES = 2**31
_SMALL = 4096
_GROWING = {
    aten.arange.start_step,
    aten.constant_pad_nd.default,
    aten.expand.default,
    aten.full.default,
    aten.repeat.default,
    aten.repeat_interleave.self_int,
}


def check_constant_size(target: Any, args: Any, kwargs: Any, mode: FakeTensorMode) -> None:
    """Make sure that calling `target` on constants gives no tensor of more than 2 GiB, before memory is taken.

    Few elements give few, but for the operators that take a size; these, and large inputs, are tried on fake tensors.

    Raises:
        UnsafeModel: the result would be larger.
    """
    if target not in _GROWING and all(tensor.numel() <= _SMALL for tensor in _tensors((args, kwargs))):
        return
    with mode:
        args, kwargs = map_aggregate((args, kwargs), _fake)
        result = target(*args, **kwargs)
    for tensor in result if isinstance(result, (tuple, list)) else [result]:
        size_bytes = math.prod(int(size) for size in tensor.shape) * tensor.element_size()
        if size_bytes > _LARGEST_BYTES:
            raise UnsafeModel(
                f"{target} on constants of the model gives {size_bytes} bytes", expected=f"at most {_LARGEST_BYTES}",
                do="the file is damaged or hostile: export it again",
            )  # fmt: skip


def _tensors(argument: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(argument) if isinstance(leaf, torch.Tensor)]


def _fake(leaf: Any) -> Any:
    return torch.empty(leaf.shape, dtype=leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf
