"""A graph in one file: safetensors for the numbers, JSON for the nodes. No pickle, no code of the model."""

import json
import operator
import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch.fx import Node

# Registers the operators of the `prunus` namespace that a file may name.
import prunus.passes.operators.recurrent  # noqa: F401
from prunus.errors import ImportModelError, OutputError
from prunus.passes.check import check
from prunus.passes.graph import Graph, get_constant, propagate_shapes, set_constant, shape, value

FORMAT = "prunus-graph-1"
# What `Graph.meta` keeps of an import, and a file too.
_META = ("input_names", "output_names")


def save_graph(graph: Graph, path: str | Path) -> Path:
    """Write a graph with its parameters to one safetensors file; `load_graph` needs nothing else.

    Raises:
        OutputError: the file cannot be written; an old one of that name stays as it was.
    """
    path = Path(path)
    nodes: list[dict[str, Any]] = []
    tensors: dict[str, torch.Tensor] = {}
    parameters, trained = [], []
    first: dict[int, str] = {}  # by identity: shared parameters are written once
    for node in graph.graph.nodes:
        tensor = get_constant(graph, node)
        name = node.target
        if tensor is not None:
            name = first.setdefault(id(tensor), str(node.target))
            tensors[name] = tensor.detach().contiguous()
            if isinstance(tensor, torch.nn.Parameter):
                parameters.append(name)
                trained += [name] if tensor.requires_grad else []
        nodes.append(_describe(node, name))
    record = {
        "nodes": nodes,
        "parameters": sorted(set(parameters)),
        "trained": sorted(set(trained)),
        "meta": {key: list(graph.meta[key]) for key in _META if key in graph.meta},
    }
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        safetensors.torch.save_file(tensors, beside, metadata={"format": FORMAT, "graph": json.dumps(record)})
        beside.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}", do="choose a folder that can") from error
    return path


def load_graph(path: str | Path) -> Graph:
    """Read a graph that `save_graph` wrote.

    Raises:
        ImportModelError: no such file, or not one of these.
    """
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dictionary
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}")
        graph = _build(json.loads(metadata["graph"]), tensors)
        check(graph)
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImportModelError(
            f"{path} does not load as a graph: {error}", expected=f"a file of the format {FORMAT}",
            do="write it with save_graph",
        ) from error  # fmt: skip
    return graph


def _describe(node: Node, name: Any) -> dict[str, Any]:
    target = name if isinstance(name, str) else _target_name(name)
    record = {
        "name": node.name, "op": node.op, "target": target, "args": _encode(node.args), "kwargs": _encode(node.kwargs),
    }  # fmt: skip
    if node.op == "placeholder":
        record |= {"shape": list(shape(node)), "dtype": str(value(node).dtype)}
    return record


def _target_name(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    assert isinstance(target, torch._ops.OpOverload), f"{target} is no operator that a graph may call"
    return str(target)


def _encode(argument: Any) -> Any:
    """Return plain JSON; what JSON does not know is an object of one key."""
    if isinstance(argument, Node):
        return {"node": argument.name}
    if isinstance(argument, tuple | list):
        return [_encode(one) for one in argument]
    if isinstance(argument, dict):
        return {"dict": {key: _encode(one) for key, one in argument.items()}}
    if isinstance(argument, torch.dtype | torch.layout | torch.memory_format | torch.device):
        return {"torch": str(argument).removeprefix("torch."), "kind": type(argument).__name__}
    if isinstance(argument, float):
        return {"float": argument.hex()}  # exact, and inf and nan too
    assert argument is None or isinstance(argument, bool | int | str), f"{argument!r} cannot be written"
    return argument


def _decode(argument: Any, nodes: dict[str, Node]) -> Any:
    if isinstance(argument, list):
        return [_decode(one, nodes) for one in argument]
    if not isinstance(argument, dict):
        return argument
    if "node" in argument:
        return nodes[argument["node"]]
    if "dict" in argument:
        return {key: _decode(one, nodes) for key, one in argument["dict"].items()}
    if "float" in argument:
        return float.fromhex(argument["float"])
    kinds = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}
    if argument["kind"] == "device":
        return torch.device(argument["torch"])
    found = getattr(torch, argument["torch"])
    if not isinstance(found, kinds[argument["kind"]]):
        raise ValueError(f"{argument['torch']!r} is no {argument['kind']}")
    return found


def _build(record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Graph:
    graph = Graph(torch.nn.Module(), torch.fx.Graph())
    for name, tensor in tensors.items():
        is_parameter, trained = name in record["parameters"], name in record["trained"]
        set_constant(graph, name, torch.nn.Parameter(tensor, requires_grad=trained) if is_parameter else tensor)
    nodes: dict[str, Node] = {}
    for one in record["nodes"]:
        args, kwargs = _decode(one["args"], nodes), _decode(one["kwargs"], nodes)
        target = _operator(one["target"]) if one["op"] == "call_function" else one["target"]
        if one["op"] == "output":
            args = [tuple(args[0])]
        node = graph.graph.create_node(one["op"], target, tuple(args), kwargs, one["name"])
        if one["op"] == "placeholder":
            dtype = _decode({"torch": one["dtype"].removeprefix("torch."), "kind": "dtype"}, nodes)
            node.meta["val"] = torch.empty(one["shape"], dtype=dtype, device="meta")
        nodes[one["name"]] = node
    graph.recompile()
    graph.meta.update(record["meta"])
    propagate_shapes(graph)
    return graph


def _operator(name: str) -> Any:
    if name == "getitem":
        return operator.getitem
    namespace, packet, overload = name.split(".")
    if namespace not in ("aten", "prunus"):
        raise ValueError(f"{name} is no operator of aten or prunus")
    return getattr(getattr(getattr(torch.ops, namespace), packet), overload)
