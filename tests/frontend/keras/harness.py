"""Keras models imported and compared with what Keras itself computes on JAX, which shares no kernel with PyTorch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

from prunus.frontend.keras import import_keras
from prunus.passes.check import check as check_graph
from prunus.passes.graph import Graph

Array = np.ndarray[Any, Any]


def noise(*shape: int, seed: int = 0) -> Array:
    """Return normally distributed numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def places(limit: int, *shape: int, seed: int = 0) -> Array:
    """Return whole numbers below `limit`, int32."""
    return np.random.default_rng((seed, *shape)).integers(0, limit, shape).astype(np.int32)


def model_of(function: Callable[..., Any], *arrays: Array) -> Any:
    """Return a functional model of `function`, with weights that are no initial values: norms and biases count."""
    inputs = [keras.Input(array.shape[1:], dtype=str(array.dtype)) for array in arrays]
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], function(*inputs))
    randomize(model)
    return model


def randomize(model: Any) -> None:
    """Move every variable of a model away from where it started; variances stay positive."""
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if "seed" not in variable.path and "float" in str(variable.dtype):
            start = keras.ops.convert_to_numpy(variable)
            variable.assign(np.abs(start + 0.3 * generator.standard_normal(start.shape)) if "variance" in variable.path
                            else start + 0.3 * generator.standard_normal(start.shape))  # fmt: skip


def check(model: Any, *arrays: Array, tolerance: float = 1e-5) -> Graph:
    """Import a model for inputs of these shapes, compare it with Keras, and return its graph."""
    recorded = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    graph = import_keras(model, example_inputs=[torch.from_numpy(array) for array in arrays])
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == recorded
    check_graph(graph)
    wanted = keras.tree.flatten(model(list(arrays) if len(arrays) > 1 else arrays[0], training=False))
    with torch.no_grad():
        found = graph(*map(torch.from_numpy, arrays))
    for result, expected in zip(found, wanted, strict=True):
        array = keras.ops.convert_to_numpy(expected)
        assert tuple(result.shape) == array.shape
        assert str(result.dtype).removeprefix("torch.") == str(array.dtype)
        np.testing.assert_allclose(result.numpy(), array, rtol=tolerance, atol=tolerance)
    return graph
