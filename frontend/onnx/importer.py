"""ONNX to the one graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch

import prunus.frontend.onnx.operators  # noqa: F401  fills the table
from prunus.errors import InputError, did_you_mean
from prunus.frontend.builder import without_tracebacks
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.inputs import ModelInput, model_inputs, static_shapes
from prunus.frontend.onnx.load import load_model
from prunus.frontend.onnx.scan import check_operators
from prunus.frontend.onnx.tensors import TensorReader
from prunus.passes.graph import Graph


def import_onnx(
    model: str | Path | bytes | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    example_inputs: Sequence[torch.Tensor] | None = None,
    constant_inputs: Mapping[str, torch.Tensor | float | int | bool] | None = None,
) -> Graph:
    """Import an ONNX model as a trainable graph.

    Weights of convolutions, linear layers, norms, embeddings and recurrent cells are parameters, everything else that
    the file holds is a buffer. What follows from shapes and constants is worked out now; `If` nodes become the branch
    that is taken. `graph.meta["input_names"]` and `["output_names"]` hold the names as the file spells them.

    Args:
        model: a path, the bytes of a file, or a model in memory. External data must lie in the model's folder.
        input_shapes: shapes by input name, for inputs with symbolic dimensions.
        example_inputs: tensors in the order of the inputs, whose shapes are taken.
        constant_inputs: inputs to fix to a value; they are no inputs of the graph.

    Raises:
        UnsafeModel: a truncated file, sizes that do not add up, or data outside the model's folder.
        UnsupportedOperators: all operators that have no rule; `operator` adds one.
        DynamicShape: symbolic dimensions that nobody fixed.
        InputError: shapes, examples or constants that do not fit the model's inputs.
        ImportModelError: cycles, missing values, weights that are not finite, an `If` that depends on an input's value.
    """
    loaded = load_model(model)
    check_operators(loaded.proto, loaded.opsets)
    declared = model_inputs(loaded.proto.graph)
    fixed = _constants(declared, constant_inputs or {})
    free = [item for item in declared if item.name not in fixed]
    shapes = static_shapes(free, input_shapes or {}, example_inputs)
    builder = Builder(loaded.opsets, TensorReader(loaded.folder))
    for item in free:
        builder.set_input(item.name, builder.placeholder(item.name, shapes[item.name], item.dtype))
    for name, tensor in fixed.items():
        builder.set_input(name, tensor)
    with without_tracebacks():
        results = builder.inline(loaded.proto.graph)
    return builder.finish(results, [item.name for item in free], [output.name for output in loaded.proto.graph.output])


def _constants(
    declared: Sequence[ModelInput], given: Mapping[str, torch.Tensor | float | int | bool]
) -> dict[str, torch.Tensor]:
    by_name = {item.name: item for item in declared}
    constants = {}
    for name, number in given.items():
        if name not in by_name:
            raise InputError(f"constant_inputs names {name!r}, which is no input", do=did_you_mean(name, by_name))
        tensor = torch.as_tensor(number).detach().to(by_name[name].dtype, copy=True)
        dims = by_name[name].dims
        if tensor.dim() == 0 and dims and all(dim == 1 or isinstance(dim, str) for dim in dims):
            tensor = tensor.reshape((1,) * len(dims))
        if dims is not None and tensor.dim() != len(dims):
            raise InputError(
                f"constant_inputs gives {name!r} the shape {tuple(tensor.shape)}",
                expected=f"({', '.join(map(str, dims))})",
            )
        constants[name] = tensor
    return constants
