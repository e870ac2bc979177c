"""Recognise layer norm and RMS norm that an exporter wrote out as formulas."""

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, only_user, shape, tidy
from prunus.passes.match import Inverse, Match, Variable, call, match, product, reads_of_inner, total
from prunus.passes.reasons import no

x = Variable("x")
mean = call(aten.mean.dim, x, keep=("dim", "keepdim"))
centred = total(0, x, Inverse(mean))
variance = total("eps", call(aten.mean.dim, product(1, centred, centred), keep=("dim", "keepdim")))
mean_square = total("eps", call(aten.mean.dim, product(1, x, x), keep=("dim", "keepdim")))
LAYER_NORM = (
    product(1, centred, Inverse(call(aten.sqrt.default, variance))),
    product(1, centred, call(aten.rsqrt.default, variance)),
)
RMS_NORM = (
    product(1, x, Inverse(call(aten.sqrt.default, mean_square))),
    product(1, x, call(aten.rsqrt.default, mean_square)),
)


def canonicalize_norms(graph: Graph) -> Graph:
    """Write the formulas of layer norm and RMS norm as one call, with the scale and shift that follow.

    before:  d = x - mean(x);  d / sqrt(mean(d * d) + eps) * gamma + beta
    after:   layer_norm(x, sizes, gamma, beta, eps)

    before:  x * rsqrt(mean(x * x) + eps) * gamma
    after:   rms_norm(x, sizes, gamma, eps)

    The means run over the last dimensions; others stay as they are.
    """
    for node in calls(graph, aten.mul.Tensor, aten.div.Tensor):
        for pattern in (*LAYER_NORM, *RMS_NORM):
            found = match(graph, pattern, node)
            if found is not None:
                _write(graph, node, found, is_layer_norm=pattern in LAYER_NORM)
                break
    graph.graph.eliminate_dead_code()
    for node in calls(graph, aten.mul.Tensor, aten.add.Tensor):
        _take_in(graph, node)
    return tidy(graph)


def _write(graph: Graph, node: Node, found: Match, is_layer_norm: bool) -> None:
    source, dims, eps = found.bindings["x"], found.bindings["dim"], found.bindings["eps"]
    rank = len(shape(source))
    others = reads_of_inner(found, node)
    if not found.bindings["keepdim"] or sorted(dim % rank for dim in dims) != list(range(rank - len(dims), rank)):
        no(f"it normalises dimensions {list(dims)}, layer norm the last ones", node)
        return
    if others:
        no(f"it is a norm, but {others[0].name!r} reads a value on its way", node)
        return
    emit, sizes = Emitter(graph, node), list(shape(source)[rank - len(dims) :])
    if is_layer_norm:
        replace(node, emit(aten.layer_norm.default, source, sizes, None, None, eps))
    else:
        replace(node, emit(aten.rms_norm.default, source, sizes, None, eps))


def _take_in(graph: Graph, node: Node) -> None:
    """Let a norm do the constant multiplication or addition that follows it."""
    for norm, constant in (node.args[:2], node.args[1::-1]):
        if not is_op(norm, aten.layer_norm.default, aten.rms_norm.default) or get_constant(graph, constant) is None:
            continue
        assert isinstance(norm, Node)
        assert isinstance(constant, Node)
        found = arguments(norm)
        sizes = list(found.normalized_shape)
        if only_user(norm) is not node or list(shape(constant))[-len(sizes) :] != sizes:
            return
        if len(shape(constant)) > len(shape(norm)) or any(size != 1 for size in shape(constant)[: -len(sizes)]):
            return
        emit = Emitter(graph, node)
        bias = getattr(found, "bias", None)
        if is_op(node, aten.mul.Tensor) and found.weight is None and bias is None:
            weight = emit.reshape(constant, sizes)
            rest = (weight, None, found.eps) if is_op(norm, aten.layer_norm.default) else (weight, found.eps)
            replace(node, emit(norm.target, found.input, sizes, *rest))  # type: ignore[arg-type]
        elif is_op(node, aten.add.Tensor) and is_op(norm, aten.layer_norm.default) and bias is None:
            shift = emit.reshape(constant, sizes)
            replace(node, emit(aten.layer_norm.default, found.input, sizes, found.weight, shift, found.eps))
        return
