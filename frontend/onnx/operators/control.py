"""Constants and branches."""

import torch

from prunus.errors import ImportModelError
from prunus.frontend.builder import Value
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.onnx.values import Results


@operator("Constant")
def constant(build: Builder, op: Operation) -> Value:
    for name, dtype in (
        ("value_float", torch.float32),
        ("value_floats", torch.float32),
        ("value_int", torch.int64),
        ("value_ints", torch.int64),
    ):
        if name in op.attributes:
            return torch.tensor(op.attributes[name], dtype=dtype)
    if "value" not in op.attributes:
        raise op.refuse(f"a constant of kind {', '.join(op.attributes)}")
    return op.attributes["value"]


@operator("If")
def branch(build: Builder, op: Operation) -> Results:
    """Put the branch that is taken in the place of the node.

    before:  If(shape(x)[0] == 1, then: squeeze(x), else: x)
    after:   squeeze(x)
    """
    condition = op.value(0)
    if not isinstance(condition, torch.Tensor):
        raise ImportModelError(
            f"the condition of {op} depends on the values of the model's inputs",
            expected="a condition that follows from constants and shapes",
            do='fix the inputs that decide it: constant_inputs={"sr": 16000}',
        )
    return build.inline(op.attributes["then_branch" if bool(condition) else "else_branch"])


@operator("Identity")
def identity(build: Builder, op: Operation) -> Value:
    return op.value(0)
