"""Which frontend reads a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from prunus.errors import ImportModelError
from prunus.frontend.keras import SUFFIXES, import_keras, is_keras_model
from prunus.frontend.torch import import_exported, import_torch, load_pt2
from prunus.passes.graph import Graph, inputs
from prunus.passes.samples import as_tensors

_READS = (
    "an nn.Module, ExportedProgram, fx.GraphModule, Keras model, a path of .onnx, .pt2, .keras or .h5, ONNX bytes or "
    "an onnx.ModelProto"
)


def import_model(
    model: Any,
    *,
    example_inputs: Sequence[Any] | None = None,
    example_kwargs: Mapping[str, Any] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    constant_inputs: Mapping[str, Any] | None = None,
) -> Graph:
    """Return the graph of any model that Prunus reads.

    Args:
        model: `torch.nn.Module`, `torch.export.ExportedProgram`, `torch.fx.GraphModule`, a Keras 3 model, a path of an
            ONNX, .pt2, .keras or HDF5 file, the bytes of an ONNX file, or an `onnx.ModelProto`.
        example_inputs: tensors or numpy arrays that fix shapes and dtypes; needed for modules.
        example_kwargs: keyword arguments of a module's forward.
        input_shapes: shapes of inputs with symbolic dimensions, by name.
        constant_inputs: inputs of an ONNX model that become constants, by name.

    Raises:
        ImportModelError: and its kin, see `prunus.errors`.
    """
    tensors = as_tensors(example_inputs)
    if isinstance(model, str | Path) and Path(model).suffix == ".pt2":
        model = load_pt2(Path(model))
    if is_keras_model(model) or (isinstance(model, str | Path) and Path(model).suffix in SUFFIXES):
        return import_keras(model, input_shapes=input_shapes, example_inputs=tensors)
    if isinstance(model, ExportedProgram):
        return import_exported(model, example_inputs=tensors, input_shapes=input_shapes)
    if isinstance(model, torch.nn.Module):
        return import_torch(model, tensors, example_kwargs=example_kwargs)
    if isinstance(model, str | Path | bytes) or type(model).__name__ == "ModelProto":
        from prunus.frontend.onnx import import_onnx

        return import_onnx(
            model, input_shapes=input_shapes, example_inputs=tensors, constant_inputs=constant_inputs or {}
        )
    raise ImportModelError(f"a {type(model).__name__} is no model that Prunus reads", expected=_READS)


def example_tensors(
    example_inputs: Sequence[Any] | None, example_kwargs: Mapping[str, Any] | None, graph: Graph
) -> list[torch.Tensor] | None:
    """Return the example tensors in the order of the graph's inputs, None where the examples do not cover them."""
    leaves = pytree.tree_leaves((as_tensors(example_inputs), dict(example_kwargs or {})))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return tensors if len(tensors) == len(inputs(graph)) else None
