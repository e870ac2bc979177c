"""Attention: scaled dot products written as matrix products and a softmax."""

import math
from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape, value
from prunus.passes.reasons import no


@rule(aten.scaled_dot_product_attention.default)
def attention(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """scaled_dot_product_attention(q, k, v, mask) --> matmul(softmax(matmul(q, k^T) * scale + mask), v)

    A mask of booleans becomes `where(mask, scores, -inf)`, `is_causal` a constant mask added to the scores.
    """
    if call.dropout_p > 0:
        no("attention drops out: the graph is in training mode", node)
        return None
    query, key, values = call.query, call.key, call.value
    if call.enable_gqa:
        key, values = _spread_heads(emit, key, query), _spread_heads(emit, values, query)
    scale = 1 / math.sqrt(shape(query)[-1]) if call.scale is None else call.scale
    rank = len(shape(key))
    keys = emit.permute(key, [*range(rank - 2), rank - 1, rank - 2])
    scores = emit(aten.mul.Tensor, emit(aten.matmul.default, query, keys), scale)
    scores = _masked(emit, scores, call)
    return emit(aten.matmul.default, emit(aten.softmax.int, scores, len(shape(scores)) - 1), values)


def _spread_heads(emit: Emitter, x: Node, query: Node) -> Node:
    times = shape(query)[-3] // shape(x)[-3]
    return x if times == 1 else emit(aten.repeat_interleave.self_int, x, times, len(shape(x)) - 3)


def _masked(emit: Emitter, scores: Node, call: SimpleNamespace) -> Node:
    dtype = value(scores).dtype
    if call.is_causal:
        rows, columns = shape(scores)[-2:]
        above = torch.full((rows, columns), -math.inf, dtype=dtype).triu(diagonal=1)
        scores = emit(aten.add.Tensor, scores, emit.constant(above, like="causal_mask"))
    if call.attn_mask is None:
        return scores
    if value(call.attn_mask).dtype == torch.bool:
        return emit(aten.where.self, call.attn_mask, scores, emit.scalar(-math.inf, dtype))
    return emit(aten.add.Tensor, scores, emit.cast(call.attn_mask, dtype))


@rule(aten._scaled_dot_product_flash_attention_for_cpu.default)
def flash_attention(emit: Emitter, node: Node, call: SimpleNamespace) -> tuple[Node, ...] | None:
    """_scaled_dot_product_flash_attention_for_cpu(q, k, v)[0] --> scaled_dot_product_attention(q, k, v)"""
    if any(user.args[1] != 0 and user.users for user in node.users):
        no("its log-sum-exp is read", node)
        return None
    attended = (call.query, call.key, call.value, call.attn_mask, call.dropout_p, call.is_causal)
    return (emit(aten.scaled_dot_product_attention.default, *attended, scale=call.scale),)
