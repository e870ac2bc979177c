"""Names of the file as names of a state dict, and as identifiers."""

import keyword
import re

import onnx
import torch

from prunus.passes.graph import Graph

_ATTRIBUTES = frozenset(dir(Graph(torch.nn.Module(), torch.fx.Graph())))
_ANONYMOUS = re.compile(r"onnx::.*|\d+|val_\d+|.*_output_\d+|.*Constant_\d+", re.IGNORECASE)


def identifier(name: str) -> str:
    """Return `name` as a Python identifier: `image:0` becomes `image_0`."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{cleaned}" if not cleaned or cleaned[0].isdigit() or keyword.iskeyword(cleaned) else cleaned


def dotted(name: str) -> str:
    """Return `name` as a path of a state dict: `encoder/layer_0/kernel:0` becomes `encoder.layer_0.kernel_0`."""
    parts = re.split(r"[./]+|::", name)
    cleaned = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in parts if part]
    return ".".join(f"{part}_" if part in _ATTRIBUTES else part for part in cleaned) or "constant"


def is_anonymous(name: str) -> bool:
    """Tell whether an exporter has invented the name: `onnx::MatMul_12`, `/fc/Constant_output_0`, `val_3`."""
    return _ANONYMOUS.fullmatch(name) is not None


def module_of(node: onnx.NodeProto) -> str:
    """Return the path of the module that a node belongs to, empty where the exporter has not noted any.

    `torch.onnx` notes paths in the node's properties, its older exporter in the name: `/layers.0/mlp/mlp.2/MatMul`
    belongs to `layers.0.mlp.2` (a child of a sequential module repeats the name of its parent).
    """
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            paths = re.findall(r"'([^']*)'", entry.value)[:-1]
            return dotted(paths[-1]) if paths and paths[-1] else ""
    path: list[str] = []
    for part in node.name.strip("/").split("/")[:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return dotted("/".join(path)) if path else ""
