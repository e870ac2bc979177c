"""Names of the file as names of a state dict, and as identifiers."""

import keyword
import re

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


def scope(node_name: str) -> str:
    """Return the module that a node belongs to: `blocks.0.fc` for `/blocks.0/fc/MatMul`."""
    head, separator, _ = node_name.strip("/").rpartition("/")
    return dotted(head if separator else node_name)
