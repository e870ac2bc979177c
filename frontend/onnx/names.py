"""Names that exporters have noted in the file, and those that they have invented."""

import re

import onnx

from prunus.frontend.builder.names import dotted

_ANONYMOUS = re.compile(r"onnx::.*|\d+|val_\d+|.*_output_\d+|.*Constant_\d+", re.IGNORECASE)


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
