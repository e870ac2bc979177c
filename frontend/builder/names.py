"""Names of other frameworks as names of a state dict, and as identifiers."""

import keyword
import re

import torch

from prunus.passes.graph import Graph

_ATTRIBUTES = frozenset(dir(Graph(torch.nn.Module(), torch.fx.Graph())))


def identifier(name: str) -> str:
    """Return `name` as a Python identifier: `image:0` becomes `image_0`."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{cleaned}" if not cleaned or cleaned[0].isdigit() or keyword.iskeyword(cleaned) else cleaned


def dotted(name: str) -> str:
    """Return `name` as a path of a state dict: `encoder/layer_0/kernel:0` becomes `encoder.layer_0.kernel_0`."""
    parts = re.split(r"[./]+|::", name)
    cleaned = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in parts if part]
    return ".".join(f"{part}_" if part in _ATTRIBUTES else part for part in cleaned) or "constant"
