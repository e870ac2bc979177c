"""Keras to the one graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from prunus.errors import UnsupportedOperators
from prunus.frontend.builder import without_tracebacks
from prunus.frontend.keras.load import keras_module, load_model
from prunus.passes.graph import Graph

_NAMES_SHOWN = 3


def import_keras(
    model: Any,
    *,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    example_inputs: Sequence[torch.Tensor] | None = None,
) -> Graph:
    """Import a Keras 3 model, on whatever backend it runs, as a trainable graph in inference mode.

    The model's variables become parameters and buffers under the names that Keras has for them. Inputs and outputs
    keep Keras' layout (channels last, by default); inside, windows and norms work on channels first, as everywhere
    here, and most of the permutations between cancel. Mixed precision is computed in float32.

    Args:
        model: a model or layer, or the path of a `.keras` or HDF5 file.
        input_shapes: shapes by input name, for dimensions that are open; an open first one is a batch of one.
        example_inputs: tensors in Keras' order of the inputs, whose shapes are taken; needed for models that declare
            no inputs.

    Raises:
        UnsafeModel: a file that holds code.
        UnsupportedOperators: all layers and operations that have no rule and cannot be opened; `rule` adds one.
        MissingInputs, DynamicShape, InputError: see `prunus.errors`.
        ImportModelError: a file that Keras cannot read, variants that have no form here, weights that are not finite.
    """
    keras = keras_module()
    backend = keras.backend.backend()
    if isinstance(model, str | Path):
        model, backend = load_model(Path(model))
    # Keras is heavy and optional: what needs it is imported when a Keras model is.
    import prunus.frontend.keras.rules  # noqa: F401  fills the table
    from prunus.frontend.keras.builder import Builder
    from prunus.frontend.keras.inputs import model_inputs

    declared = model_inputs(model, input_shapes or {}, example_inputs)
    builder = Builder(backend)
    values: list[Any] = [builder.placeholder(item.name, item.shape, item.dtype) for item in declared]
    with builder.recording.of(model), without_tracebacks():
        results = builder.try_to_run(model, (), *_arguments(keras, model, values))
    _check_complete(builder.missing)
    return builder.finish(
        keras.tree.flatten(results), [item.name for item in declared], _output_names(keras, model, results)
    )


def _arguments(keras: Any, model: Any, values: list[Any]) -> list[Any]:
    """Return the arguments of the model's call: a functional model's one structure of inputs, else one by one."""
    if isinstance(model, keras.Model) and hasattr(model, "input"):
        return [keras.tree.pack_sequence_as(model.input, values)]
    return values


def _output_names(keras: Any, model: Any, results: Any) -> list[str]:
    """Name outputs by the keys of a dictionary, else as Keras does, else output, or output_0, output_1, ..."""
    count = len(keras.tree.flatten(results))
    if isinstance(results, dict) and len(results) == count:
        paths = keras.tree.flatten_with_path(results)
        return [str(path[-1]) for path, _ in paths]
    names = list(getattr(model, "output_names", None) or ())
    if len(names) == count and len(set(names)) == count:
        return names
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _check_complete(missing: Mapping[str, Sequence[str]]) -> None:
    if not missing:
        return
    lines = []
    for reason, names in sorted(missing.items()):
        shown = ", ".join(map(repr, names[:_NAMES_SHOWN]))
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        lines.append(f"  {reason} x{len(names)}: {shown}{more}")
    raise UnsupportedOperators(
        "layers and operations without a rule:\n" + "\n".join(lines),
        do="write the layer in keras.ops, or add a rule before importing: @prunus.frontend.keras.rule(its name) above "
        "a function (build, call) that returns build.call(torch.ops.aten..., call.x)",
    )
