"""Calls in the words that PyTorch's ONNX exporter knows."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, shape, value

Spelling = Callable[[Emitter, Node, SimpleNamespace], Node | None]


def spell_for_onnx(graph: Graph) -> Graph:
    """Rewrite the calls that the exporter has no word for; what it lacks altogether stays."""
    for target, spelling in _SPELLINGS.items():
        for node in calls(graph, target):
            emit = Emitter(graph, node)
            new = spelling(emit, node, arguments(node))
            if new is not None:
                replace(node, new)
    graph.recompile()
    return graph


def _conversion(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """_to_copy(x, dtype=int32) --> to(x, int32)"""
    return emit(aten.to.dtype, call.self, value(node).dtype)


def _nearest(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_nearest2d(x, [5, 7], 2.6, 1.4) --> upsample_nearest2d.vec(x, None, [2.6, 1.4])"""
    return emit(aten.upsample_nearest2d.vec, call.self, *_resizing(node, call))


def _bilinear(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """upsample_bilinear2d(x, [4, 4], c, 2.0, 2.0) --> upsample_bilinear2d.vec(x, [4, 4], c, None)"""
    size, factors = _resizing(node, call)
    return emit(aten.upsample_bilinear2d.vec, call.self, size, call.align_corners, factors)


def _resizing(node: Node, call: SimpleNamespace) -> tuple[list[int] | None, list[float] | None]:
    """Return the size of the result, or the factors where they are not the quotients of the sizes."""
    before, after = shape(call.self)[-2:], shape(node)[-2:]
    factors = [new / old if factor is None else float(factor)
               for new, old, factor in zip(after, before, (call.scales_h, call.scales_w), strict=True)]  # fmt: skip
    exact = all(factor * old == new for factor, old, new in zip(factors, before, after, strict=True))
    return (list(after), None) if exact else (None, factors)


def _rms_norm(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """rms_norm(x, [n], W, eps) --> x * rsqrt(mean(x * x) + eps) * W"""
    dims = list(range(-len(call.normalized_shape), 0))
    mean = emit(aten.mean.dim, emit(aten.mul.Tensor, call.input, call.input), dims, True)
    eps = torch.finfo(value(node).dtype).eps if call.eps is None else call.eps
    scale = emit(aten.rsqrt.default, emit(aten.add.Tensor, mean, eps))
    result = emit(aten.mul.Tensor, call.input, scale)
    return result if call.weight is None else emit(aten.mul.Tensor, result, call.weight)


def _elu(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """elu(x, a, s, i) --> where(x > 0, x * s, elu(x * i, a) * s), where s or i is not 1"""
    if call.scale == call.input_scale == 1:
        return None
    bent = emit(aten.elu.default, emit(aten.mul.Tensor, call.self, call.input_scale), call.alpha)
    straight = emit(aten.where.self, emit(aten.gt.Scalar, call.self, 0), call.self, bent)
    return emit(aten.mul.Tensor, straight, call.scale)


def _expm1(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """expm1(x) --> exp(x) - 1"""
    return emit(aten.sub.Tensor, emit(aten.exp.default, call.self), 1.0)


def _hyperbolic(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """sinh(x) --> (exp(x) - exp(-x)) / 2, cosh(x) --> (exp(x) + exp(-x)) / 2"""
    join = aten.sub.Tensor if node.target is aten.sinh.default else aten.add.Tensor
    sides = (emit(aten.exp.default, side) for side in (call.self, emit(aten.neg.default, call.self)))
    return emit(aten.mul.Tensor, emit(join, *sides), 0.5)


def _trunc(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """trunc(x) --> sign(x) * floor(abs(x))"""
    size = emit(aten.floor.default, emit(aten.abs.default, call.self))
    return emit(aten.mul.Tensor, emit(aten.sign.default, call.self), size)


def _xor(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """bitwise_xor(booleans) --> ne(booleans)"""
    return emit(aten.ne.Tensor, call.self, call.other) if value(node).dtype == torch.bool else None


_SPELLINGS: dict[torch._ops.OpOverload, Spelling] = {
    aten._to_copy.default: _conversion,
    aten.upsample_nearest2d.default: _nearest,
    aten.upsample_bilinear2d.default: _bilinear,
    aten.rms_norm.default: _rms_norm,
    aten.elu.default: _elu,
    aten.expm1.default: _expm1,
    aten.sinh.default: _hyperbolic,
    aten.cosh.default: _hyperbolic,
    aten.trunc.default: _trunc,
    aten.bitwise_xor.Tensor: _xor,
}
