"""Dense layers, matrix products, embeddings and attention."""

from typing import Any

import torch
from torch.fx import Node

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, rule
from prunus.passes.graph import aten

_HIDDEN = -2.4e38  # what Keras adds to a score that the mask hides: a row without any other has equal weights


@rule("layers.Dense")
def dense(build: Builder, call: Call) -> Any:
    refuse_quantized(call)
    weight = build.call(aten.t.default, build.value(call.kernel))
    return biased(build, call, _linear(build, call.x, weight, build.value(call.bias)))


@rule("layers.EinsumDense")
def einsum_dense(build: Builder, call: Call) -> Any:
    """A product over the last dimensions of the input is a linear layer.

    before:  einsum("abc,cde->abde", x, W) + b
    after:   reshape(linear(x, reshape(W, [c, d * e]).T, reshape(b)))
    """
    refuse_quantized(call)
    x, kernel, bias = call.x, build.value(call.kernel), build.value(call.bias)
    summed = _summed_at_the_end(call.equation, rank_of(x), rank_of(kernel))
    if summed is None:
        y = build.call(aten.einsum.default, call.equation, [x, build.parameter(kernel)])
        return biased(build, call, y if bias is None else arithmetic.add(build, y, build.parameter(bias, "bias")))
    batch, made = shape_of(x)[:-summed], shape_of(kernel)[summed:]
    flat = arithmetic.reshape(build, x, [*batch, shape_of(x)[-1] if summed == 1 else _size(shape_of(x)[-summed:])])
    weight = build.call(aten.t.default, build.call(aten.reshape.default, kernel, [shape_of(flat)[-1], _size(made)]))
    inside = bias is not None and _size(shape_of(bias)) == _size(made) and shape_of(bias)[-len(made) :] == made
    y = _linear(build, flat, weight, bias.reshape(-1) if inside else None)
    y = arithmetic.reshape(build, y, [*batch, *made])
    if bias is not None and not inside:
        y = arithmetic.add(build, y, build.parameter(bias, "bias"))
    return biased(build, call, y)


@rule("ops.Matmul")
def matmul(build: Builder, call: Call) -> Value:
    x, y = build.value(call.args[0]), build.value(call.args[1])
    if isinstance(x, Node) and isinstance(y, torch.Tensor) and y.dim() == 2 and y.is_floating_point():
        return _linear(build, x, build.call(aten.t.default, y), None)
    return build.call(aten.matmul.default, x, y)


@rule("ops.Dot")
def dot(build: Builder, call: Call) -> Value:
    """NumPy's: over the last dimension of the first and the second last of the second."""
    x, y = build.value(call.args[0]), build.value(call.args[1])
    if rank_of(y) > 2:
        return build.call(aten.tensordot.default, x, y, [rank_of(x) - 1], [rank_of(y) - 2])
    return matmul(build, call)


@rule("ops.Einsum")
def einsum(build: Builder, call: Call) -> Value:
    return build.call(aten.einsum.default, call.subscripts, [build.value(operand) for operand in call.args])


@rule("ops.Tensordot")
def tensordot(build: Builder, call: Call) -> Value:
    x, y, axes = build.value(call.args[0]), build.value(call.args[1]), call.axes
    if isinstance(axes, int):
        left, right = list(range(rank_of(x) - axes, rank_of(x))), list(range(axes))
    else:
        left, right = ([axis] if isinstance(axis, int) else list(axis) for axis in axes)
    return build.call(aten.tensordot.default, x, y, left, right)


@rule("layers.Embedding")
def embedding(build: Builder, call: Call) -> Value:
    refuse_quantized(call)
    indices = call.x
    if dtype_of(indices).is_floating_point:
        indices = arithmetic.cast(build, indices, torch.int32)
    return build.call(aten.embedding.default, build.parameter(build.value(call.embeddings), "embeddings"), indices)


@rule("ops.DotProductAttention")
def dot_product_attention(build: Builder, call: Call) -> Value:
    """[batch, length, heads, size] in Keras; heads come second in PyTorch."""
    query, key, value = (
        build.call(aten.permute.default, build.value(call.argument(place, name)), [0, 2, 1, 3])
        for place, name in enumerate(("query", "key", "value"))
    )
    bias, mask, scale = (call.argument(place, name) for place, name in ((3, "bias"), (4, "mask"), (5, "scale")))
    if call.attn_logits_soft_cap is not None:
        raise call.refuse("a soft cap of the scores")
    hidden = build.value(bias)
    causal = bool(call.is_causal)
    if mask is not None:
        seen = arithmetic.cast(build, build.value(mask), torch.bool)
        if causal:
            lengths = shape_of(query)[2], shape_of(key)[2]
            seen = build.call(aten.logical_and.default, seen, torch.ones(lengths, dtype=torch.bool).tril())
            causal = False
        hidden = arithmetic.where(build, seen, torch.zeros(()), torch.tensor(_HIDDEN))
    result = build.call(
        aten.scaled_dot_product_attention.default, query, key, value, hidden, 0.0, causal,
        scale=None if scale is None else float(scale), enable_gqa=shape_of(query)[1] != shape_of(key)[1],
    )  # fmt: skip
    return build.call(aten.permute.default, result, [0, 2, 1, 3])


def biased(build: Builder, call: Call, y: Value) -> Any:
    """Apply a layer's activation to what its weights made."""
    return y if call.activation is None else build.run(call.activation, y)


def refuse_quantized(call: Call) -> None:
    """Raise for a layer whose weights Keras has quantised."""
    if getattr(call.operation, "quantization_mode", None) is not None:
        raise call.refuse(
            f"Keras has quantised its weights ({call.quantization_mode})", expected="float weights",
            do="compile the float model with quantize=",
        )  # fmt: skip


def _linear(build: Builder, x: Value, weight: Value, bias: Value | None) -> Value:
    extra = () if bias is None else (build.parameter(bias, "bias"),)
    return build.call(aten.linear.default, x, build.parameter(weight, "kernel"), *extra)


def _summed_at_the_end(equation: str, rank: int, kernel_rank: int) -> int | None:
    """Return over how many of the input's last dimensions a kernel's first are summed, None for other equations."""
    operands, _, output = equation.replace(" ", "").partition("->")
    source, _, kernel = operands.partition(",")
    if not output or "," in kernel:
        return None
    if "..." in equation:
        named = source.replace("...", "")
        free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
        ellipsis = "".join(free[: rank - len(named)])
        source, output = source.replace("...", ellipsis), output.replace("...", ellipsis)
    summed = [letter for letter in source if letter not in output]
    count = len(summed)
    batch = source[: len(source) - count]
    fits = len(source) == rank and len(kernel) == kernel_rank and count > 0
    plain = source[len(source) - count :] == kernel[:count] == "".join(summed) and output == batch + kernel[count:]
    return count if fits and plain else None


def _size(sizes: tuple[int, ...]) -> int:
    return int(torch.Size(sizes).numel())
