"""What a legal graph is, checked between passes."""

import operator

import torch
from torch.fx import Node

from prunus.errors import GraphError
from prunus.passes.graph import Graph, get_constant

DTYPES = frozenset(
    {
        torch.float32,
        torch.float64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
    }
)
NAMESPACES = frozenset({"aten", "prunus"})


def check(graph: Graph) -> None:
    """Check that `graph` keeps the contract of `passes/graph.py`.

    Raises:
        GraphError: names the first node that breaks it.
    """
    nodes = list(graph.graph.nodes)
    seen: set[Node] = set()
    for node in nodes:
        for read in node.all_input_nodes:
            if read not in seen:
                raise _broken(node, f"reads {read.name!r}, which does not stand before it", "topological order")
        seen.add(node)
        _check_kind(graph, node)
        if node.op != "output" and not is_assertion(node):
            _check_value(node)
    ends = [node for node in nodes if node.op == "output"]
    if len(ends) != 1:
        raise GraphError(f"the graph has {len(ends)} output nodes", expected="exactly one, at the end")


def is_assertion(node: Node) -> bool:
    """Tell whether `node` calls an operator without results, such as `aten._assert_tensor_metadata`."""
    return isinstance(node.target, torch._ops.OpOverload) and not node.target._schema.returns


def _check_kind(graph: Graph, node: Node) -> None:
    if node.op == "get_attr":
        try:
            get_constant(graph, node)
        except (AttributeError, AssertionError):
            raise _broken(node, f"reads {str(node.target)!r}, which is no tensor", "a parameter or buffer") from None
    elif node.op == "call_function":
        _check_target(node)
    elif node.op == "output":
        results = node.args[0]
        if not isinstance(results, tuple) or not all(isinstance(result, Node) for result in results):
            raise _broken(node, f"returns {results}", "a flat tuple of nodes")
    elif node.op != "placeholder":
        raise _broken(node, f"is a {node.op!r} node", "placeholder, get_attr, call_function or output")


def _check_target(node: Node) -> None:
    target = node.target
    if target is operator.getitem:
        source = node.args[0]
        if not isinstance(source, Node) or not isinstance(source.meta.get("val"), tuple | list):
            raise _broken(node, f"picks a result of {source}", "an operator that returns several tensors")
        return
    if not isinstance(target, torch._ops.OpOverload) or target.namespace not in NAMESPACES:
        raise _broken(node, f"calls {target}", "an operator of torch.ops.aten or torch.ops.prunus, with its overload")
    if target._schema.is_mutable:
        raise _broken(node, f"calls {target}, which writes into its argument", "functional operators only")


def _check_value(node: Node) -> None:
    found = node.meta.get("val")
    if node.op == "call_function" and isinstance(found, tuple | list) and node.target is not operator.getitem:
        values = tuple(found)
    else:
        values = (found,)
    for result in values:
        if not isinstance(result, torch.Tensor):
            raise _broken(node, f"is described by {type(result).__name__}", 'a tensor in meta["val"]: see `refresh`')
        if not all(isinstance(size, int) for size in result.shape):
            raise _broken(node, f"has the symbolic shape {tuple(result.shape)}", "a static shape")
        if result.dtype not in DTYPES:
            names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in DTYPES))
            raise _broken(node, f"has dtype {result.dtype}", names, do="convert the model first, with `model.float()`")


def _broken(node: Node, found: str, expected: str, do: str = "") -> GraphError:
    return GraphError(f"node {node.name!r} {found}", expected=expected, do=do)
