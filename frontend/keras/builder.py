"""The builder of Keras' rules: it opens layers and keeps the values of their steps."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import torch
from torch.fx import Node

from prunus.errors import ImportModelError, PrunusError
from prunus.frontend.builder import GraphBuilder, Value, dtype_of, shape_of
from prunus.frontend.builder.names import dotted
from prunus.frontend.keras.steps import Recording, Step, variables_replaced
from prunus.frontend.keras.table import Call, find_rule, name_of
from prunus.frontend.keras.tensors import tensor_from, torch_dtype


class Builder(GraphBuilder):
    """Builds the graph of one Keras model.

    Attributes:
        recording: of the calls of opened layers.
        backend: what has computed the model, `tensorflow`; None where nobody knows.
        missing: what has neither a rule nor a `call` that can be opened, with the reason, by class.
    """

    def __init__(self, backend: str | None) -> None:
        super().__init__()
        self.backend = backend
        self.recording = Recording()
        self.missing: dict[str, list[str]] = {}
        self._masks: dict[Any, Value] = {}
        self._variables: dict[int, tuple[Any, torch.Tensor]] = {}

    def variable(self, variable: Any) -> torch.Tensor | None:
        """Return the tensor of a Keras variable, always the same one, known by the variable's name; None for None."""
        if variable is None:
            return None
        if id(variable) not in self._variables:
            tensor = tensor_from(variable)
            self._variables[id(variable)] = (variable, tensor)
            self.constants.remember(tensor, dotted(variable.path), trainable=bool(variable.trainable))
        return self._variables[id(variable)][1]

    def on_torch(self, call: Call) -> bool:
        """Tell whether PyTorch computes the model, for the few calls that it computes otherwise than the rest.

        Raises:
            ImportModelError: nobody knows.
        """
        if self.backend is None:
            raise call.refuse(
                "Keras' backends pad it in different ways, and a .keras file does not say which one trained the model",
                expected="a model that Keras has loaded, or an HDF5 file, which says it",
                do="load it with keras.saving.load_model on the backend (KERAS_BACKEND) that trained it, and pass that",
            )
        return self.backend == "torch"

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a layer, one of `keras.ops` or an activation function on values and return its values.

        Args:
            operation: with a rule, or a layer or function whose steps have rules.
        """
        call = Call(operation, args, kwargs)
        rule = find_rule(operation)
        if rule is not None:
            with self._inside(operation):
                return self._apply_rule(rule, call)
        if isinstance(operation, keras.Layer):
            with self._inside(operation):
                return self.open(operation.call, *args, **_for_inference(operation.call, kwargs))
        if isinstance(operation, keras.Function):
            return self.open(operation.call, *args, **kwargs)
        if not isinstance(operation, keras.Operation):
            return self.open(operation, *args, **kwargs)
        raise _Unknown(name_of(operation), "no rule")

    def try_to_run(self, operation: Any, outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Call as `run` does; note what is missing and return zeros like `outputs`, so that all of it is found."""
        try:
            return self.run(operation, *args, **kwargs)
        except _Unknown as unknown:
            self.missing.setdefault(str(unknown), []).append(operation.name)
            return [
                torch.zeros([size or 1 for size in tensor.shape], dtype=torch_dtype(tensor.dtype))
                for tensor in outputs
            ]  # fmt: skip

    def open(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function that is written in `keras.ops` and layers, and import its steps instead of it.

        All tensors are symbolic meanwhile, constants and a layer's own variables too, so that all that is done with
        them is a step; a layer that asks its variables for more than that gets the real ones.
        """
        values: dict[int, Value] = {}
        symbols: list[Any] = []  # alive as long as their ids stand for them

        def symbol(leaf: Any) -> Any:
            value = self.value(leaf) if isinstance(leaf, keras.Variable) else leaf
            if not isinstance(value, (torch.Tensor, Node)):
                return leaf
            tensor = keras.KerasTensor(shape_of(value), dtype=str(dtype_of(value)).removeprefix("torch."))
            values[id(tensor)] = value
            symbols.append(tensor)
            if isinstance(leaf, Node) and leaf in self._masks:
                tensor._keras_mask = symbol(self._masks[leaf])
            return tensor

        args, kwargs = keras.tree.map_structure(symbol, (args, kwargs))
        layer = getattr(function, "__self__", None)
        try:
            with variables_replaced(layer, symbol):
                results = function(*args, **kwargs)
        except Exception:
            try:
                results = function(*args, **kwargs)
            except Exception as error:
                name = name_of(function if layer is None else layer)
                raise _Unknown(name, f"no rule, and its call stops: {_first_line(error)}") from error
        for step in self.recording.steps(results):
            self._step(step, values)
        return keras.tree.map_structure(lambda leaf: self._known(leaf, values), results)

    def value(self, leaf: Any, beside: Value | None = None) -> Any:
        """Return a variable, an array or a backend's tensor as a value; numbers too, if `beside` gives their dtype.

        Everything else stays as it is.
        """
        if isinstance(leaf, (torch.Tensor, Node)):
            return leaf
        if isinstance(leaf, keras.Variable):
            return self.variable(leaf)
        if isinstance(leaf, (bool, int, float)) and beside is not None:
            return torch.tensor(leaf, dtype=torch.result_type(torch.empty(1, dtype=dtype_of(beside)), leaf))
        if keras.ops.is_tensor(leaf) or hasattr(leaf, "__array__"):
            return tensor_from(leaf)
        return leaf

    def _step(self, step: Step, values: dict[int, Value]) -> None:
        args, kwargs = keras.tree.map_structure(
            lambda leaf: self._known(leaf, values), (tuple(step.args), dict(step.kwargs))
        )
        kwargs.pop("training", None)
        outer = self._masks
        self._masks = {
            values[key]: values[id(mask)] for key, mask in step.masks.items() if isinstance(values[key], Node)
        }  # fmt: skip
        outputs = keras.tree.flatten(self.try_to_run(step.operation, step.outputs, *args, **kwargs))
        self._masks = outer
        for tensor, value in zip(step.outputs, outputs, strict=True):
            values[id(tensor)] = value

    def _known(self, leaf: Any, values: dict[int, Value]) -> Any:
        return values[id(leaf)] if isinstance(leaf, keras.KerasTensor) else self.value(leaf)

    def _apply_rule(self, rule: Any, call: Call) -> Any:
        try:
            return rule(self, call)
        except (PrunusError, _Unknown):
            raise
        except Exception as error:
            raise ImportModelError(
                f"{call} does not work out: {_first_line(error)}", expected="arguments that fit each other",
                do="call the model in Keras with inputs of this shape",
            ) from error  # fmt: skip

    @contextmanager
    def _inside(self, operation: Any) -> Iterator[None]:
        before, self.module = self.module, self.module
        if isinstance(operation, keras.Layer):
            self.module = dotted(getattr(operation, "path", None) or operation.name)
        try:
            yield
        finally:
            self.module = before


class _Unknown(Exception):
    """Something without a rule that cannot be opened."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} ({reason})")


def _for_inference(function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    if "training" in inspect.signature(function).parameters:
        return {**kwargs, "training": False}
    return kwargs


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else repr(error)
