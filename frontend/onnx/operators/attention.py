"""Scaled dot-product attention as one operator, from version 23 on."""

from prunus.frontend.builder import Value, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten


@operator("Attention", since=23)
def attention(build: Builder, op: Operation) -> Value:
    """softmax(scale * Q @ K.T + mask) @ V, on [batch, heads, length, width] or on heads side by side in the last axis.

    A key and value cache, or a cap on the scores, has no form here.
    """
    if any(op.optional(index) is not None for index in (4, 5, 6)) or op.attribute("softcap", 0.0):
        raise op.refuse("a cache of keys and values, or capped scores")
    query, key, value = op.value(0), op.value(1), op.value(2)
    heads, key_heads = op.attribute("q_num_heads"), op.attribute("kv_num_heads")
    flat = rank_of(query) == 3
    if flat:
        query = _split_heads(build, query, heads)
        key, value = (_split_heads(build, part, key_heads) for part in (key, value))
    grouped = shape_of(query)[1] != shape_of(key)[1]
    causal, mask = bool(op.attribute("is_causal", 0)), op.optional(3)
    if causal and mask is not None:
        raise op.refuse("a mask and `is_causal` at once")
    y = build.call(
        aten.scaled_dot_product_attention.default, query, key, value, mask, 0.0, causal,
        scale=op.attribute("scale"), enable_gqa=grouped,
    )  # fmt: skip
    if flat:
        batch, _, length, _ = shape_of(y)
        y = build.call(aten.reshape.default, build.call(aten.permute.default, y, [0, 2, 1, 3]), [batch, length, -1])
    return y


def _split_heads(build: Builder, x: Value, heads: int) -> Value:
    batch, length, width = shape_of(x)
    x = build.call(aten.reshape.default, x, [batch, length, heads, width // heads])
    return build.call(aten.permute.default, x, [0, 2, 1, 3])
