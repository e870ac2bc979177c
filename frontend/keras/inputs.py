"""The inputs of a Keras model, every dimension a number."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prunus.errors import DynamicShape, InputError, MissingInputs, did_you_mean
from prunus.frontend.keras.tensors import torch_dtype

_COUNTED = re.compile(r"(input_layer|keras_tensor)(_\d+)?")


@dataclass(frozen=True)
class ModelInput:
    """One input.

    Attributes:
        shape: numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


def model_inputs(
    model: Any, input_shapes: Mapping[str, tuple[int, ...]], example_inputs: Sequence[torch.Tensor] | None
) -> list[ModelInput]:
    """Return the inputs in Keras' order, flat; an open first dimension is a batch of one.

    Raises:
        MissingInputs: a model without declared inputs, and no examples.
        InputError: shapes or examples that do not fit the declared inputs, or names that are not inputs.
        DynamicShape: further open dimensions that nobody fixed.
    """
    tensors = getattr(model, "inputs", None)
    if not tensors:
        return _of_examples(model, example_inputs)
    declared = dict(zip(_names(tensors), tensors, strict=True))
    for name in input_shapes:
        if name not in declared:
            raise InputError(f"input_shapes names {name!r}, which is no input", do=did_you_mean(name, declared))
    if example_inputs is not None and len(example_inputs) != len(declared):
        raise InputError(
            f"{len(example_inputs)} example inputs for a model with {len(declared)}",
            expected=f"tensors for {', '.join(declared)}",
        )
    given = {name: tuple(int(size) for size in shape) for name, shape in input_shapes.items()}
    if example_inputs is not None:
        given = {name: tuple(x.shape) for name, x in zip(declared, example_inputs, strict=True)} | given
    return [
        ModelInput(name, _static(name, tuple(tensor.shape), given.get(name)), torch_dtype(tensor.dtype))
        for name, tensor in declared.items()
    ]


def _names(tensors: Sequence[Any]) -> list[str]:
    """Return the names of inputs; those that Keras has counted up in this process are counted within the model."""
    return [
        tensor.name if not _COUNTED.fullmatch(tensor.name) else "input" if len(tensors) == 1 else f"input_{index}"
        for index, tensor in enumerate(tensors)
    ]


def _of_examples(model: Any, example_inputs: Sequence[torch.Tensor] | None) -> list[ModelInput]:
    if example_inputs is None:
        raise MissingInputs(
            f"{type(model).__name__} declares no inputs and `example_inputs` is missing",
            expected="tensors as the model's call takes them",
            do="pass example_inputs=(torch.zeros(1, 224, 224, 3),)",
        )
    names = ["input"] if len(example_inputs) == 1 else [f"input_{index}" for index in range(len(example_inputs))]
    return [
        ModelInput(name, tuple(example.shape), example.dtype)
        for name, example in zip(names, example_inputs, strict=True)
    ]


def _static(name: str, declared: tuple[int | None, ...], given: tuple[int, ...] | None) -> tuple[int, ...]:
    listed = f"({', '.join('?' if size is None else str(size) for size in declared)})"
    if given is None:
        shape = (1, *declared[1:]) if declared[:1] == (None,) else declared
        if None in shape:
            example = tuple(1 if size is None else size for size in shape)
            raise DynamicShape(
                f"input {name!r} has open dimensions: {listed}", expected="static shapes",
                do=f'pass input_shapes={{"{name}": {example}}} with your sizes, or example_inputs=(...)',
            )  # fmt: skip
        return tuple(int(size) for size in shape if size is not None)
    same_rank = len(given) == len(declared)
    if not same_rank or any(size not in (None, want) for size, want in zip(declared, given, strict=True)):
        raise InputError(f"shape {given} for input {name!r}", expected=listed)
    return given
