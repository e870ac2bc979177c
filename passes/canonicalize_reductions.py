"""Recognise means and softmax that an exporter wrote out as formulas."""

import math

from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, is_op, only_user, shape, tidy
from prunus.passes.match import Inverse, Variable, call, match, product, reads_of_inner, total
from prunus.passes.reasons import no

x = Variable("x")
scaled_sum = product("number", call(aten.sum.dim_IntList, x, keep=("dim", "keepdim")))
powers = call(aten.exp.default, total(0, x, Inverse(call(aten.amax.default, x, keep=("dim", "keepdim")))))
shares = product(1, powers, Inverse(call(aten.sum.dim_IntList, powers, keep=("dim", "keepdim"))))
REDUCTIONS = (aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default)


def canonicalize_reductions(graph: Graph) -> Graph:
    """Write sums times 1 / n as means, powers divided by their sum as softmax, and keep dimensions where they are used.

    before:  sum(x, dim) * (1 / n)          e = exp(x - amax(x, dim));  e / sum(e, dim)
    after:   mean(x, dim)                   softmax(x, dim)

    before:  reshape(mean(x, dim), sizes with a 1)
    after:   mean(x, dim, keepdim=True)
    """
    for node in calls(graph, aten.reshape.default):
        _keep_dims(graph, node)
    graph.graph.eliminate_dead_code()
    for node in calls(graph, aten.mul.Tensor, aten.div.Tensor):
        if not _write_mean(graph, node):
            _write_softmax(graph, node)
    return tidy(graph)


def _keep_dims(graph: Graph, node: Node) -> None:
    source = arguments(node).self
    if not is_op(source, *REDUCTIONS) or only_user(source) is not node:
        return
    call = arguments(source)
    kept = [1 if dim in call.dim else size for dim, size in enumerate(shape(call.self))]
    dropped = [size for dim, size in enumerate(shape(call.self)) if dim not in call.dim]
    if list(shape(node)) == (dropped if call.keepdim else kept):
        replace(node, Emitter(graph, node)(source.target, call.self, call.dim, not call.keepdim))


def _write_mean(graph: Graph, node: Node) -> bool:
    found = match(graph, scaled_sum, node)
    if found is None:
        return False
    source, dims, keepdim = (found.bindings[name] for name in ("x", "dim", "keepdim"))
    count = math.prod(shape(source)[dim] for dim in dims)
    if not math.isclose(found.bindings["number"] * count, 1, rel_tol=1e-6):
        return False
    replace(node, Emitter(graph, node)(aten.mean.dim, source, dims, keepdim))
    return True


def _write_softmax(graph: Graph, node: Node) -> bool:
    found = match(graph, shares, node)
    if found is None:
        return False
    dims = found.bindings["dim"]
    others = reads_of_inner(found, node)
    if len(dims) != 1 or not found.bindings["keepdim"]:
        return no(f"it is softmax over {len(dims)} dimensions", node)
    if others:
        return no(f"it is softmax, but {others[0].name!r} reads a value on its way", node)
    replace(node, Emitter(graph, node)(aten.softmax.int, found.bindings["x"], dims[0]))
    return True
