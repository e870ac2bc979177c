"""A graph as an ONNX file, for runtimes other than ours."""

from pathlib import Path

import torch

from prunus.errors import OutputError
from prunus.passes.graph import Graph, copy_graph, inputs, outputs
from prunus.passes.numbers import random_inputs
from prunus.passes.spell_for_onnx import spell_for_onnx

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
    spelled = spell_for_onnx(copy_graph(graph))
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
