"""ONNX models to the one graph.

`import_onnx` reads a model. Each operator is one small function in a table; `operator` adds to it, for operators of
your own and for those that are missing:

    import torch
    from prunus.frontend.onnx import Builder, Operation, operator

    @operator("ScaledTanh", domain="my.company")
    def scaled_tanh(build: Builder, op: Operation) -> torch.fx.Node | torch.Tensor:
        tanh = build.call(torch.ops.aten.tanh.default, op.value(0))
        return build.call(torch.ops.aten.mul.Tensor, tanh, op.attribute("scale", 1.0))

A value is a constant (a `torch.Tensor`, known while importing) or a `torch.fx.Node`; `build.call` takes both, evaluates
at once where everything is constant and records a node otherwise. `build.parameter(op.value(1))` makes a weight
trainable.
"""

from prunus.frontend.builder import Value, dtype_of, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.importer import import_onnx
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.onnx.values import Results

__all__ = [
    "Builder",
    "Operation",
    "Results",
    "Value",
    "dtype_of",
    "import_onnx",
    "operator",
    "rank_of",
    "shape_of",
]
