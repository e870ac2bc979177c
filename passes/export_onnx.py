"""A graph as an ONNX file, for runtimes other than ours."""

from pathlib import Path

import torch
from torch.fx import Node

from prunus.errors import OutputError
from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, aten, calls, copy_graph, inputs, outputs, shape
from prunus.passes.numbers import random_inputs

OPSET = 18


def export_onnx(graph: Graph, path: str | Path, *, opset: int = OPSET) -> Path:
    """Write a graph to an ONNX file with PyTorch's own exporter.

    Args:
        graph: of operators that PyTorch exports; those of the `prunus` namespace are not among them.
        path: of the file.
        opset: version of the ONNX operators.

    Raises:
        OutputError: an operator without a counterpart in ONNX, or a file that cannot be written.
    """
    path = Path(path)
    spelled = _for_exporter(copy_graph(graph))
    names = graph.meta.get("input_names") or [node.name for node in inputs(graph)]
    results = graph.meta.get("output_names") or [f"output_{index}" for index in range(len(outputs(graph)))]
    try:
        torch.onnx.export(
            spelled, random_inputs(graph), str(path), dynamo=False, opset_version=opset, input_names=list(names),
            output_names=list(results),
        )  # fmt: skip
    except (OSError, RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        first = next(iter(str(error).splitlines()), repr(error))
        raise OutputError(
            f"{path} cannot be written as ONNX: {first}",
            expected="operators that ONNX has",
            do="export with save_graph",
        ) from error
    return path


def _for_exporter(graph: Graph) -> Graph:
    """Spell calls as the exporter knows them: conversions of dtype by the name `to`, factors of resizing as a list."""
    for node in calls(graph, aten._to_copy.default):
        call = arguments(node)
        node.target, node.args, node.kwargs = aten.to.dtype, (call.self, _dtype(node)), {}
    for node in calls(graph, aten.upsample_nearest2d.default):
        node.args, node.kwargs = (arguments(node).self, *_resizing(node)), {}
        node.target = aten.upsample_nearest2d.vec
    for node in calls(graph, aten.upsample_bilinear2d.default):
        call, (size, factors) = arguments(node), _resizing(node)
        node.args, node.kwargs = (call.self, size, call.align_corners, factors), {}
        node.target = aten.upsample_bilinear2d.vec
    graph.recompile()
    return graph


def _resizing(node: Node) -> tuple[list[int] | None, list[float] | None]:
    """Return the size of the result, or the factors where they are not the quotients of the sizes."""
    call, after = arguments(node), shape(node)[-2:]
    before = shape(call.self)[-2:]
    factors = [new / old if factor is None else float(factor)
               for new, old, factor in zip(after, before, (call.scales_h, call.scales_w), strict=True)]  # fmt: skip
    exact = all(factor * old == new for factor, old, new in zip(factors, before, after, strict=True))
    return (list(after), None) if exact else (None, factors)


def _dtype(node: Node) -> torch.dtype:
    dtype = node.meta["val"].dtype
    assert isinstance(dtype, torch.dtype)
    return dtype
