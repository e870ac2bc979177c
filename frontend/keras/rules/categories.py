"""Numbers of categories as rows of zeros and ones."""

from typing import Any

import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, rule
from prunus.frontend.keras.tensors import torch_dtype
from prunus.passes.graph import aten


@rule("ops.OneHot")
def one_hot(build: Builder, call: Call) -> Value:
    hot = _hot(build, build.value(call.x), call.num_classes, call.dtype)
    order = [*range(rank_of(hot) - 1)]
    order.insert(call.axis % rank_of(hot), rank_of(hot) - 1)
    return arithmetic.permute(build, hot, order)


@rule("layers.CategoryEncoding")
def category_encoding(build: Builder, call: Call) -> Value:
    if call.argument(1, "count_weights") is not None:
        raise call.refuse("weights of what is counted")
    return _encoded(build, call, call.x, call.num_tokens, call.dtype)


@rule("layers.Discretization")
def discretization(build: Builder, call: Call) -> Value:
    """Count the boundaries up to each number."""
    wide = build.call(aten.unsqueeze.default, call.x, -1)
    passed = build.call(aten.ge.Tensor, wide, torch.tensor(call.bin_boundaries, dtype=dtype_of(wide)))
    places = build.call(aten.sum.dim_IntList, arithmetic.cast(build, passed, torch.int32), [-1], False)
    return _encoded(build, call, places, len(call.bin_boundaries) + 1, call.output_dtype)


def _encoded(build: Builder, call: Call, places: Value, classes: int, dtype: Any) -> Value:
    """Return categories as the layer's `output_mode` wants them: themselves, or one row for each or for each sample."""
    if call.output_mode == "int":
        return arithmetic.cast(build, places, torch_dtype(str(dtype)))
    if call.output_mode == "one_hot" and rank_of(places) > 1 and shape_of(places)[-1] == 1:
        places = arithmetic.reshape(build, places, shape_of(places)[:-1])
    hot = _hot(build, places, classes, dtype)
    if call.output_mode == "one_hot":
        return hot
    if call.output_mode == "multi_hot":
        return build.call(aten.amax.default, hot, [-2], False)
    return build.call(aten.sum.dim_IntList, hot, [-2], False)


def _hot(build: Builder, places: Value, classes: int, dtype: Any) -> Value:
    """Compare each place with all of the classes."""
    wide = build.call(aten.unsqueeze.default, places, -1)
    found = build.call(aten.eq.Tensor, wide, torch.arange(classes, dtype=dtype_of(places)))
    return arithmetic.cast(build, found, torch.float32 if dtype is None else torch_dtype(str(dtype)))
