"""The inputs of a model, every dimension a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
import torch

from prunus.errors import DynamicShape, ImportModelError, InputError, did_you_mean
from prunus.frontend.onnx.tensors import torch_dtype


@dataclass(frozen=True)
class ModelInput:
    """One input as the file declares it.

    Attributes:
        dims: numbers; names (or `?`) of symbolic dimensions; None where the file declares no shape at all.
    """

    name: str
    dtype: torch.dtype
    dims: tuple[int | str, ...] | None


def model_inputs(graph: onnx.GraphProto) -> list[ModelInput]:
    """Return the inputs that are not initializers.

    Raises:
        ImportModelError: an input that is not a tensor, or of a type that PyTorch does not compute with.
    """
    initialized = {tensor.name for tensor in graph.initializer}
    return [_declared(value) for value in graph.input if value.name not in initialized]


def static_shapes(
    inputs: Sequence[ModelInput],
    input_shapes: Mapping[str, tuple[int, ...]],
    example_inputs: Sequence[torch.Tensor] | None,
) -> dict[str, tuple[int, ...]]:
    """Return a static shape for every input; a symbolic name that one input fixes is fixed for all.

    Raises:
        InputError: shapes or examples that do not fit the declared ones, or names that are not inputs.
        DynamicShape: dimensions that nobody fixed.
    """
    for name in input_shapes:
        if name not in {declared.name for declared in inputs}:
            raise InputError(
                f"input_shapes names {name!r}, which is no input",
                do=did_you_mean(name, [declared.name for declared in inputs]),
            )
    given = {name: tuple(int(size) for size in dims) for name, dims in input_shapes.items()}
    if example_inputs is not None:
        given = _shapes_of_examples(inputs, example_inputs) | given
    bound: dict[str, int] = {}
    for declared in inputs:
        if declared.name in given:
            _check_fits(declared, given[declared.name])
            named = zip(declared.dims or (), given[declared.name], strict=False)
            for dim, size in named:
                if isinstance(dim, str) and dim != "?":
                    bound.setdefault(dim, size)
    shapes = {declared.name: given.get(declared.name, _fill(declared, bound)) for declared in inputs}
    if any(_is_open(dims) for dims in shapes.values()):
        raise _dynamic([replace(d, dims=shapes[d.name]) for d in inputs if _is_open(shapes[d.name])])
    return {name: tuple(int(size) for size in dims or ()) for name, dims in shapes.items()}


def _declared(value: onnx.ValueInfoProto) -> ModelInput:
    if value.type.WhichOneof("value") != "tensor_type":
        raise ImportModelError(f"input {value.name!r} is a {value.type.WhichOneof('value')}", expected="a tensor")
    kind = value.type.tensor_type
    dims: tuple[int | str, ...] | None = None
    if kind.HasField("shape"):
        dims = tuple(
            int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or "?"
            for d in kind.shape.dim
        )
    return ModelInput(value.name, torch_dtype(kind.elem_type, f"input {value.name!r}"), dims)


def _shapes_of_examples(
    inputs: Sequence[ModelInput], example_inputs: Sequence[torch.Tensor]
) -> dict[str, tuple[int, ...]]:
    if len(example_inputs) != len(inputs):
        raise InputError(
            f"{len(example_inputs)} example inputs for a model with {len(inputs)}",
            expected=f"tensors for {', '.join(declared.name for declared in inputs)}",
        )
    for declared, example in zip(inputs, example_inputs, strict=True):
        if example.dtype != declared.dtype:
            raise InputError(
                f"the example for input {declared.name!r} is {example.dtype}", expected=str(declared.dtype),
                do=f"convert it: example.to({declared.dtype})",
            )  # fmt: skip
    return {declared.name: tuple(example.shape) for declared, example in zip(inputs, example_inputs, strict=True)}


def _check_fits(declared: ModelInput, shape: tuple[int, ...]) -> None:
    if declared.dims is None:
        return
    differs = any(isinstance(dim, int) and dim != size for dim, size in zip(declared.dims, shape, strict=False))
    if len(shape) != len(declared.dims) or differs:
        raise InputError(
            f"shape {shape} for input {declared.name!r}", expected=f"({', '.join(map(str, declared.dims))})",
            do="change the shape, or export the model with symbolic dimensions",
        )  # fmt: skip


def _fill(declared: ModelInput, bound: Mapping[str, int]) -> tuple[int | str, ...] | None:
    return None if declared.dims is None else tuple(bound.get(str(dim), dim) for dim in declared.dims)


def _is_open(dims: tuple[int | str, ...] | None) -> bool:
    return dims is None or any(isinstance(dim, str) for dim in dims)


def _dynamic(open_inputs: Sequence[ModelInput]) -> DynamicShape:
    listed = ", ".join(
        f"{item.name} ({', '.join(map(str, item.dims)) if item.dims is not None else 'no shape'})"
        for item in open_inputs
    )
    example = ", ".join(
        f'"{item.name}": {tuple(dim if isinstance(dim, int) else 1 for dim in item.dims or ())}' for item in open_inputs
    )
    return DynamicShape(
        f"inputs with symbolic dimensions: {listed}", expected="static shapes",
        do=f"pass input_shapes={{{example}}} with your sizes, or example_inputs=(...)",
    )  # fmt: skip
