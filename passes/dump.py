"""Graphs as text: one line a node, and a diff to the graph before."""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.graph import Graph


def show(graph: Graph) -> str:
    """Return the graph as text: `name: dtype[shape] = operator(arguments)`, one line a node.

    Parameters and buffers stand where they are read, as `%layer1.weight`.
    """
    return "".join(f"{_row(node)}\n" for node in graph.graph.nodes if node.op != "get_attr")


def write_dump(folder: Path, index: int, name: str, text: str, previous: str) -> None:
    """Write `text` to `folder/01_name.txt`, below it the diff to `previous` (empty for the first)."""
    folder.mkdir(parents=True, exist_ok=True)
    if previous:
        diff = difflib.unified_diff(previous.splitlines(), text.splitlines(), "before", "after", lineterm="", n=1)
        text = f"{text}\n{chr(10).join(diff) or 'no change'}\n"
    (folder / f"{index:02d}_{name}.txt").write_text(text)


def _row(node: Node) -> str:
    if node.op == "output":
        return f"return {', '.join(map(_argument, node.args[0]))}"  # type: ignore[arg-type]
    title = f"{node.name}: {_kind(node.meta['val'])}"
    if node.op == "placeholder":
        return f"{title} = input"
    arguments = [_argument(argument) for argument in node.args]
    arguments += [f"{key}={_argument(argument)}" for key, argument in node.kwargs.items()]
    return f"{title} = {_operator(node.target)}({', '.join(arguments)})"


def _operator(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        overload = "" if target._overloadname == "default" else f".{target._overloadname}"
        return f"{target.namespace}.{target._schema.name.split('::')[1]}{overload}"
    return str(target.__name__)


def _argument(argument: Any) -> str:
    if isinstance(argument, Node):
        return f"%{argument.target}" if argument.op == "get_attr" else argument.name
    if isinstance(argument, list | tuple):
        return f"[{', '.join(map(_argument, argument))}]"
    return str(argument).removeprefix("torch.")


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        sizes = ", ".join(str(size) for size in value.shape)
        return f"{str(value.dtype).removeprefix('torch.')}[{sizes}]"
    return ", ".join(_kind(item) for item in value)
