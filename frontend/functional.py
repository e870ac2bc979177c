"""Exported programs without writes in place, batch norm and dropout kept as people train them."""

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from prunus.frontend.regions import casts, written_out
from prunus.passes.graph import aten, calls


def functionalize(program: ExportedProgram) -> tuple[ExportedProgram, torch.fx.Graph]:
    """Return a program with the same signature and state, and its nodes, none of which writes in place.

    before:  y = relu_(x);  z = add(x, y)
    after:   y = relu(x);   z = add(y, y)

    That is right as long as no other name reaches the memory of `x`. Where one does (a write into a slice, say),
    PyTorch's own functionalisation is run instead; it takes dropout out, and batch norm is put back here. It also
    writes down what autocast does. The program given stays as it is.
    """
    nodes = written_out(program.graph_module)
    if not casts(program.graph_module):
        writes = [node for node in nodes.nodes if _writes(node)]
        if all(_functional_overload(node) is not None and _alone(node) for node in writes):
            for node in writes:
                _rewrite(node)
            return program, nodes
    program = program.run_decompositions({})
    _restore_batch_norm(program)
    return program, program.graph


def _writes(node: Node) -> bool:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or target is aten.batch_norm.default:
        return False
    return bool(target._schema.is_mutable)


def _functional_overload(node: Node) -> torch._ops.OpOverload | None:
    """Return `aten.relu.default` for `aten.relu_.default`, None where a write has no such twin."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    packet = target.overloadpacket.__name__
    if not packet.endswith("_") or target.namespace != "aten":
        return None
    functional = getattr(aten, packet[:-1], None)
    return getattr(functional, target._overloadname, None) if functional is not None else None


def _alone(node: Node) -> bool:
    """Tell whether nothing but the written value itself reaches its memory."""
    written = node.args[0]
    return (
        isinstance(written, Node)
        and written.op == "call_function"
        and not _is_view(written)
        and not any(_is_view(user) for user in written.users)
    )


def _is_view(node: Node) -> bool:
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return node.op == "call_function"  # getitem of a split, say
    infos = [argument.alias_info for argument in target._schema.arguments]
    aliases = any(info is not None and not info.is_write for info in infos)
    return aliases or target in (aten.reshape.default, aten.flatten.using_ints, aten.contiguous.default)


def _rewrite(node: Node) -> None:
    written = node.args[0]
    assert isinstance(written, Node)
    order = {other: index for index, other in enumerate(node.graph.nodes)}
    written.replace_all_uses_with(node, delete_user_cb=lambda user: order[user] > order[node])
    functional = _functional_overload(node)
    assert functional is not None
    node.target = functional


def _restore_batch_norm(program: ExportedProgram) -> None:
    """Put `aten.batch_norm` back where functionalisation has left its inference form.

    before:  getitem(_native_batch_norm_legit_no_training(x, w, b, mean, var, momentum, eps), 0)
    after:   batch_norm(x, w, b, mean, var, False, momentum, eps, False)
    """
    graph = program.graph
    for node in calls(program.graph_module, aten._native_batch_norm_legit_no_training.default):
        x, weight, bias, mean, var, momentum, eps = node.args
        for item in list(node.users):
            with graph.inserting_before(item):
                new = graph.call_function(
                    aten.batch_norm.default, (x, weight, bias, mean, var, False, momentum, eps, False)
                )
            new.meta = dict(item.meta)
            item.replace_all_uses_with(new)
            graph.erase_node(item)
        graph.erase_node(node)
    program.graph_module.recompile()
