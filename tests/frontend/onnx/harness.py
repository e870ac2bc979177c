"""One ONNX operator in a model of its own, imported and compared with ONNX Runtime."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper

from prunus.frontend.onnx import import_onnx
from prunus.passes.graph import Graph

IR_VERSION = 10


@dataclass(frozen=True)
class Constant:
    """An input of the node that the file holds."""

    array: np.ndarray[Any, Any]


Input = np.ndarray[Any, Any] | Constant | None


@dataclass(frozen=True)
class Case:
    """One node.

    Attributes:
        inputs: arrays that the model is run on; `Constant` for initializers; None for inputs that are left out.
        outputs: how many outputs the node has.
    """

    op_type: str
    inputs: tuple[Input, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    domain: str = ""

    def __str__(self) -> str:
        shapes = [
            "-" if held is None else "x".join(map(str, (held.array if isinstance(held, Constant) else held).shape))
            for held in self.inputs
        ]
        attributes = ",".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"{self.op_type}-{self.opset}({','.join(shapes)};{attributes})".replace(" ", "")


def case(op_type: str, *inputs: Input, opset: int = 18, outputs: int = 1, domain: str = "", **attributes: Any) -> Case:
    """Return a case; keyword arguments are attributes."""
    return Case(op_type, inputs, attributes, opset, outputs, domain)


def noise(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray[Any, Any]:
    """Return normally distributed numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def integers(*shape: int, low: int = 0, high: int = 5, dtype: str = "int64") -> np.ndarray[Any, Any]:
    """Return integers from `low` to `high - 1`."""
    return np.random.default_rng(shape).integers(low, high, shape).astype(dtype)


def held(array: Any, dtype: str | None = None) -> Constant:
    """Return an initializer."""
    array = np.asarray(array)
    return Constant(array.astype(dtype) if dtype is not None else array)


def model_of(one: Case) -> onnx.ModelProto:
    """Return a model with the one node."""
    names = [f"input_{index}" if given is not None else "" for index, given in enumerate(one.inputs)]
    outputs = [f"output_{index}" for index in range(one.outputs)]
    node = helper.make_node(one.op_type, names, outputs, name="node", domain=one.domain, **one.attributes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(given.dtype), given.shape)
        for name, given in zip(names, one.inputs, strict=True)
        if isinstance(given, np.ndarray)
    ]
    initializers = [
        numpy_helper.from_array(given.array, name)
        for name, given in zip(names, one.inputs, strict=True)
        if isinstance(given, Constant)
    ]
    graph = helper.make_graph(
        [node], "case", inputs, [onnx.ValueInfoProto(name=name) for name in outputs], initializers
    )
    opsets = [helper.make_opsetid("", one.opset)]
    if one.domain:
        opsets.append(helper.make_opsetid(one.domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def check_case(one: Case, *, tolerance: float = 1e-5) -> Graph:
    """Import the node and compare all outputs; return the graph."""
    model = model_of(one)
    arrays = [given for given in one.inputs if isinstance(given, np.ndarray)]
    return check_model(model, arrays, tolerance=tolerance)


def check_model(
    model: onnx.ModelProto | str, arrays: list[np.ndarray[Any, Any]], *, tolerance: float = 1e-5, **options: Any
) -> Graph:
    """Import a model, run it in PyTorch and ONNX Runtime, and compare.

    Args:
        model: the model or its path.
        arrays: inputs in the model's order.
        tolerance: largest error, as a share of the largest output (or of 1).
        options: passed on to `import_onnx`.
    """
    graph = import_onnx(model, **options)
    data = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds = dict(zip([given.name for given in session.get_inputs()], arrays, strict=True))
    names = graph.meta["input_names"]
    results = graph(*[torch.from_numpy(np.array(feeds[name])) for name in names])
    for name, result, expected in zip(graph.meta["output_names"], results, session.run(None, feeds), strict=True):
        found = result.detach().numpy()
        assert found.dtype == expected.dtype, name
        assert found.shape == expected.shape, name
        scale = max(float(np.abs(expected[np.isfinite(expected)]).max(initial=0)), 1.0) if expected.dtype != bool else 1
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=name)
    return graph
