"""Rewrite every operator that the backend does not keep in terms of those that it does."""

import functools
import operator
from typing import Any

import torch
from torch._decomp import core_aten_decompositions, decomposition_table
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

from prunus.passes.arguments import arguments
from prunus.passes.check import is_assertion
from prunus.passes.decompositions import RULES, Replacement
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, tidy
from prunus.passes.reasons import no

LAYERS = (
    aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.conv_transpose1d.default,
    aten.conv_transpose2d.input, aten.conv_transpose3d.input, aten.linear.default, aten.matmul.default,
    aten.gru.input, aten.lstm.input, aten.rnn_tanh.input, aten.rnn_relu.input, aten.embedding.default,
    aten.batch_norm.default, aten.layer_norm.default,
    aten.rms_norm.default, aten.group_norm.default, aten.dropout.default, aten.feature_dropout.default,
    aten.alpha_dropout.default, aten.feature_alpha_dropout.default,
)  # fmt: skip
POOLS = (
    aten.max_pool2d.default, aten.max_pool3d.default, aten.avg_pool2d.default, aten.avg_pool3d.default,
    aten.upsample_nearest2d.default, aten.upsample_bilinear2d.default,
)  # fmt: skip
REDUCTIONS = (
    aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default, aten.prod.dim_int, aten.argmax.default,
    aten.argmin.default, aten.softmax.int, aten.log_softmax.int, aten.cumsum.default,
)  # fmt: skip
MOVES = (
    aten.reshape.default, aten.permute.default, aten.slice.Tensor, aten.select.int, aten.expand.default,
    aten.cat.default, aten.constant_pad_nd.default, aten.flip.default, aten.index_select.default, aten.gather.default,
)  # fmt: skip
BINARY = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.div.Tensor_mode, aten.maximum.default,
    aten.minimum.default, aten.pow.Tensor_Tensor, aten.remainder.Tensor, aten.fmod.Tensor, aten.atan2.default,
    aten.eq.Tensor, aten.ne.Tensor, aten.lt.Tensor, aten.le.Tensor, aten.gt.Tensor, aten.ge.Tensor,
    aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_xor.Tensor, aten.where.self,
)  # fmt: skip
UNARY = (
    aten.relu.default, aten.leaky_relu.default, aten.elu.default, aten.gelu.default, aten.silu.default,
    aten.mish.default, aten.hardswish.default, aten.hardsigmoid.default, aten.softplus.default, aten.sigmoid.default,
    aten.tanh.default, aten.clamp.default, aten.exp.default, aten.expm1.default, aten.log.default, aten.log1p.default,
    aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default, aten.pow.Tensor_Scalar, aten.abs.default,
    aten.neg.default, aten.sign.default, aten.floor.default, aten.ceil.default, aten.round.default,
    aten.trunc.default, aten.erf.default, aten.sin.default, aten.cos.default, aten.tan.default, aten.asin.default,
    aten.acos.default, aten.atan.default, aten.sinh.default, aten.cosh.default, aten.logical_not.default,
    aten.bitwise_not.default, aten._to_copy.default, aten.eq.Scalar, aten.ne.Scalar, aten.lt.Scalar, aten.le.Scalar,
    aten.gt.Scalar, aten.ge.Scalar,
)  # fmt: skip
KEPT = frozenset({*LAYERS, *POOLS, *REDUCTIONS, *MOVES, *BINARY, *UNARY})


def decompose(graph: Graph, *, kept: frozenset[torch._ops.OpOverload] = KEPT) -> Graph:
    """Rewrite operators until only those in `kept` are left, each in one spelling.

    before:  scaled_dot_product_attention(q, k, v)
    after:   matmul(softmax(matmul(q, permute(k)) * scale), v)

    A rule of `passes/decompositions` is used where there is one, else PyTorch's own decomposition. Operators that
    neither knows stay, with a reason; `left_over` lists them.
    """
    for node in calls(graph):
        if is_assertion(node):
            graph.graph.erase_node(node)
    settled: set[Node] = set()
    pending = list(calls(graph))
    while pending:
        rewritten = [node for node in pending if node not in settled and not _rewrite(graph, node, kept)]
        settled.update(rewritten)
        graph.graph.eliminate_dead_code()
        pending = [node for node in calls(graph) if node not in settled]
    return tidy(graph)


def left_over(graph: Graph, *, kept: frozenset[torch._ops.OpOverload] = KEPT) -> list[Node]:
    """Return the calls whose operator is not in `kept`; operators of `prunus` always are."""
    return [node for node in calls(graph) if node.target is not operator.getitem and not _is_kept(node, kept)]


def _is_kept(node: Node, kept: frozenset[torch._ops.OpOverload]) -> bool:
    return node.target in kept or getattr(node.target, "namespace", "") == "prunus"


def _rewrite(graph: Graph, node: Node, kept: frozenset[torch._ops.OpOverload]) -> bool:
    """Rewrite one node, or tell that it stays."""
    target = node.target
    if target is operator.getitem or not isinstance(target, torch._ops.OpOverload):
        return False
    emit = Emitter(graph, node)
    rule = RULES.get(target)
    replacement = rule(emit, node, arguments(node)) if rule else None
    if replacement is None and not _is_kept(node, kept):
        replacement = _trace(emit, node, kept)
    if replacement is None:
        return False
    if isinstance(replacement, tuple):
        for item in list(node.users):
            replace(item, replacement[int(item.args[1])])  # type: ignore[arg-type]
        graph.graph.erase_node(node)
    else:
        replace(node, replacement)
    return True


def _trace(emit: Emitter, node: Node, kept: frozenset[torch._ops.OpOverload]) -> Replacement:
    """Write PyTorch's own decomposition of `node`, None where it has none."""
    read = list(node.all_input_nodes)

    def function(*tensors: torch.Tensor) -> Any:
        given = dict(zip(read, tensors, strict=True))
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda other: given[other])
        return node.target(*args, **kwargs)  # type: ignore[operator]

    table = {target: rule for target, rule in _core_decompositions().items() if target not in kept}
    if node.target in decomposition_table:
        table[node.target] = decomposition_table[node.target]
    try:
        with emit.mode, torch.no_grad():
            traced = make_fx(function, decomposition_table=table)(*map(emit.describe, read))
    except Exception as error:
        no(f"PyTorch's decomposition of {node.target} cannot be traced: {error}", node)
        return None
    if any(inner.target is node.target or _is_primitive(inner) for inner in traced.graph.nodes):
        no(f"there is no decomposition of {node.target}", node)
        return None
    return _inline(emit, traced, read)


def _is_primitive(node: Node) -> bool:
    """Tell whether a node calls what PyTorch lowers ATen to, which no graph of ours holds."""
    return getattr(node.target, "namespace", "") == "prims"


@functools.cache
def _core_decompositions() -> dict[Any, Any]:
    return dict(core_aten_decompositions())


def _inline(emit: Emitter, traced: torch.fx.GraphModule, read: list[Node]) -> Replacement:
    copies: dict[Node, Any] = {}
    given = iter(read)
    result: Any = None
    for inner in traced.graph.nodes:
        if inner.op == "placeholder":
            copies[inner] = next(given)
        elif inner.op == "get_attr":
            tensor = getattr(traced, str(inner.target))
            real = tensor.constant if isinstance(tensor, FakeTensor) else tensor
            assert isinstance(real, torch.Tensor), f"{inner} in the decomposition of {emit.before} has no value"
            copies[inner] = emit.constant(real, like="constant")
        elif inner.op == "output":
            result = torch.fx.map_arg(inner.args[0], lambda other: copies[other])
        elif inner.target is operator.getitem:
            copies[inner] = _pick(emit, copies[inner.args[0]], inner.args[1])
        else:
            args, kwargs = torch.fx.map_arg((inner.args, inner.kwargs), lambda other: copies[other])
            copies[inner] = emit(inner.target, *args, **kwargs)
    return tuple(result) if isinstance(result, list | tuple) else result


def _pick(emit: Emitter, source: Node, index: int) -> Node:
    with emit.graph.graph.inserting_before(emit.before):
        node = emit.graph.graph.call_function(operator.getitem, (source, index))
    node.meta["val"] = source.meta["val"][index]
    return node
