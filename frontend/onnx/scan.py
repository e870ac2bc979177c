"""Missing operators, all of them, before any work starts."""

import contextlib
from collections.abc import Iterator, Mapping

import onnx

from prunus.errors import UnsupportedOperators
from prunus.frontend.onnx.order import needed, subgraphs
from prunus.frontend.onnx.table import domain_key, find_rule

_NODES_SHOWN = 3


def check_operators(model: onnx.ModelProto, opsets: Mapping[str, int]) -> None:
    """Make sure that every operator has a rule, in branches too.

    Raises:
        UnsupportedOperators: with counts, names of nodes, shapes as far as they are known, and the hook for a rule.
    """
    missing: dict[tuple[str, str], list[onnx.NodeProto]] = {}
    for node in _all_nodes(model.graph):
        domain = domain_key(node.domain)
        if find_rule(domain, node.op_type, opsets.get(domain, 1)) is None:
            missing.setdefault((domain, node.op_type), []).append(node)
    if not missing:
        return
    shapes = _inferred_shapes(model)
    lines = [_line(domain, op_type, nodes, shapes) for (domain, op_type), nodes in sorted(missing.items())]
    domain, op_type = min(missing)
    where = f', domain="{domain}"' if domain else ""
    raise UnsupportedOperators(
        "operators without a rule:\n" + "\n".join(lines),
        do=f'add a rule for each before importing: @prunus.frontend.onnx.operator("{op_type}"{where}) above a function '
        "(build, op) that returns build.call(torch.ops.aten..., op.value(0)); or export the model without them",
    )


def _line(domain: str, op_type: str, nodes: list[onnx.NodeProto], shapes: dict[str, str]) -> str:
    shown = []
    for node in nodes[:_NODES_SHOWN]:
        inputs = ", ".join(shapes.get(name, "?") for name in node.input if name)
        shown.append(f"{node.name or node.output[0]!r}({inputs})")
    more = f" and {len(nodes) - _NODES_SHOWN} more" if len(nodes) > _NODES_SHOWN else ""
    label = f"{domain}.{op_type}" if domain else op_type
    return f"  {label} x{len(nodes)}: {', '.join(shown)}{more}"


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in needed(graph):
        yield node
        for inner in subgraphs(node):
            yield from _all_nodes(inner)


def _inferred_shapes(model: onnx.ModelProto) -> dict[str, str]:
    """Return shapes by name, as far as ONNX can tell; it fails on models that it does not know every operator of."""
    with contextlib.suppress(Exception):  # any failure only makes the message shorter
        model = onnx.shape_inference.infer_shapes(model)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    shapes = {value.name: _shape_text(value) for value in values}
    shapes.update({tensor.name: "x".join(map(str, tensor.dims)) or "scalar" for tensor in model.graph.initializer})
    return shapes


def _shape_text(value: onnx.ValueInfoProto) -> str:
    if not value.type.tensor_type.HasField("shape"):
        return "?"
    dims = value.type.tensor_type.shape.dim
    return (
        "x".join(dim.dim_param or (str(dim.dim_value) if dim.HasField("dim_value") else "?") for dim in dims)
        or "scalar"
    )
