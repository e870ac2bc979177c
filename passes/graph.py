"""The graph that every room of Prunus works on, and the few things all passes ask of it.

A `Graph` is a `torch.fx.GraphModule` with

- one `placeholder` a model input (a tensor), named as users name the input;
- `get_attr` nodes for parameters, buffers and constants, with the dotted names of a state dict;
- `call_function` nodes whose target is an `OpOverload` of `aten` or `prunus`, functional (nothing is written in
  place; `aten.batch_norm` in training updates its statistics as PyTorch does);
  `operator.getitem` picks one result of an operator that returns several;
- one `output` node with a flat tuple of tensors.

Shapes are static, PyTorch's (NCHW); every node holds its value's description in `node.meta["val"]`: a fake tensor, or a
tuple of them. The graph runs in PyTorch at any time, and its parameters can be trained.
"""

import operator
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.node import Target
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

Graph = GraphModule
aten = torch.ops.aten


def is_op(node: object, *targets: object) -> bool:
    """Tell whether `node` calls one of `targets`: overloads, or packets (`aten.relu`) that stand for all of theirs."""
    if not isinstance(node, Node) or node.op != "call_function":
        return False
    packet = getattr(node.target, "overloadpacket", None)
    return any(node.target is target or (packet is not None and packet is target) for target in targets)


def value(node: Node) -> torch.Tensor:
    """Return the description of the one tensor that `node` produces."""
    result = node.meta["val"]
    assert isinstance(result, torch.Tensor), f"{node} produces {type(result).__name__}, not one tensor"
    return result


def shape(node: Node) -> tuple[int, ...]:
    """Return the static shape of the tensor that `node` produces."""
    return tuple(int(size) for size in value(node).shape)


def get_constant(graph: Graph, node: object) -> torch.Tensor | None:
    """Return the tensor behind a `get_attr` node, None for any other node."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    owner: object = graph
    for part in str(node.target).split("."):
        owner = getattr(owner, part)
    assert isinstance(owner, torch.Tensor)
    return owner


def set_constant(graph: Graph, name: str, tensor: torch.Tensor) -> None:
    """Store `tensor` below the dotted `name`: a parameter if it is an `nn.Parameter`, else a buffer."""
    *path, leaf = name.split(".")
    owner: torch.nn.Module = graph
    for part in path:
        if not hasattr(owner, part):
            owner.add_module(part, torch.nn.Module())
        owner = getattr(owner, part)
    if hasattr(owner, leaf):
        delattr(owner, leaf)
    if isinstance(tensor, torch.nn.Parameter):
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor)


def add_constant(graph: Graph, tensor: torch.Tensor, *, like: str, before: Node) -> Node:
    """Store a new constant under a free name near `like` and return its `get_attr` node, placed ahead of `before`."""
    name, count = like, 1
    while _is_taken(graph, name):
        name, count = f"{like}_{count}", count + 1
    set_constant(graph, name, tensor)
    with graph.graph.inserting_before(before):
        node = graph.graph.get_attr(name)
    node.meta["val"] = tensor.detach().to("meta")
    return node


def _is_taken(graph: Graph, name: str) -> bool:
    """Tell whether anything stands at the dotted `name`."""
    owner: object = graph
    for part in name.split("."):
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


def inputs(graph: Graph) -> list[Node]:
    """Return the placeholders, in order."""
    return [node for node in graph.graph.nodes if node.op == "placeholder"]


def outputs(graph: Graph) -> list[Node]:
    """Return the nodes whose values the graph returns, in order."""
    (node,) = (node for node in graph.graph.nodes if node.op == "output")
    return list(node.args[0])


def calls(graph: Graph, *targets: object) -> Iterator[Node]:
    """Yield the `call_function` nodes, all of them or those of `targets`, safe against removal on the way."""
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and (not targets or is_op(node, *targets)):
            yield node


def only_user(node: Node) -> Node | None:
    """Return the one node that reads `node`, None if there are none or several."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def copy_graph(graph: Graph) -> Graph:
    """Return a copy with nodes of its own (same names, same metadata) that shares the tensors."""
    nodes = torch.fx.Graph()
    copies: dict[Node, Node] = {}
    for node in graph.graph.nodes:
        copies[node] = nodes.node_copy(node, lambda other: copies[other])
    copy = Graph(graph, nodes)
    copy.meta = dict(graph.meta)
    return copy


def tidy(graph: Graph) -> Graph:
    """Drop unread nodes and unused tensors and recompile: for passes that describe what they add. Returns `graph`."""
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    remove_unused_constants(graph)
    graph.graph.lint()
    graph.recompile()
    return graph


def refresh(graph: Graph) -> Graph:
    """Tidy, and work out every `meta["val"]` anew: for passes that change shapes. Returns `graph`."""
    tidy(graph)
    propagate_shapes(graph)
    return graph


def propagate_shapes(graph: Graph) -> None:
    """Work out `meta["val"]` of every node from those of the inputs."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        examples = [torch.empty(shape(node), dtype=value(node).dtype) for node in inputs(graph)]
    _Shapes(graph, mode).propagate_dont_convert_inputs(*examples)


class _Shapes(FakeTensorProp):
    """Knows batch norms: PyTorch takes each apart, slowly, to find that its result is like its input."""

    def call_function(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is not aten.batch_norm.default:
            return super().call_function(target, args, kwargs)
        x, *parameters = args[:5]
        found = {parameter.shape for parameter in parameters if parameter is not None}
        if found - {x.shape[1:2]}:
            raise ValueError(f"batch norm of {list(x.shape)} with parameters of {sorted(map(list, found))}")
        return torch.empty_like(x)


def remove_unused_constants(graph: Graph) -> None:
    """Delete parameters and buffers that no `get_attr` node reads."""
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name, _ in [*graph.named_parameters(), *graph.named_buffers()]:
        if name not in read:
            owner, _, leaf = name.rpartition(".")
            delattr(graph.get_submodule(owner), leaf)


def readers(graph: Graph, constant: Node) -> list[Node]:
    """Return the nodes that read the tensor of a `get_attr` node, under any of its names."""
    tensor = get_constant(graph, constant)
    twins = [node for node in graph.graph.nodes if node.op == "get_attr" and get_constant(graph, node) is tensor]
    return [user for twin in twins for user in twin.users]


def users_of_item(node: Node, index: int) -> Iterable[Node]:
    """Return the `operator.getitem` nodes that pick result `index` of `node`."""
    return [user for user in node.users if user.target is operator.getitem and user.args[1] == index]
