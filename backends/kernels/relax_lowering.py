"""One ATen operator through TVM Relax: `torch.export`, Relax's importer, its legalisation and fusion to TIR functions.

Relax's importer is not taken at its word: `grid_sampler_2d` comes out with another shape, the indices of
`max_pool2d_with_indices` as zeros. What it makes is run on random inputs and compared with PyTorch before it is used.
"""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from prunus.backends.kernels.family import No
from prunus.backends.kernels.scalar_rules import dtype_name
from prunus.backends.kernels.tir import tvm

# Largest difference to PyTorch on random inputs, as a share of the largest result.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class TensorType:
    """Shape and dtype (numpy's name)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Slot:
    """Stands for tensor `index` among the arguments of a call."""

    index: int


@dataclass(frozen=True)
class AtenCall:
    """A call as plain data: `arguments` are values, tuples of values and slots.

    Attributes:
        operator: "grid_sampler_2d.default".
        keywords: pairs of name and plain value.
    """

    operator: str
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]
    tensors: tuple[TensorType, ...]
    results: tuple[TensorType, ...]

    def __call__(self, *tensors: torch.Tensor) -> Any:
        """Run the call in PyTorch."""
        packet, overload = self.operator.split(".")
        function = getattr(getattr(torch.ops.aten, packet), overload)

        def fill(argument: Any) -> Any:
            if isinstance(argument, Slot):
                return tensors[argument.index]
            return [fill(item) for item in argument] if isinstance(argument, tuple) else argument

        return function(*map(fill, self.arguments), **dict(self.keywords))


@dataclass(frozen=True)
class Value:
    """Where a value is: `kind` is "input", "constant", "result" or "temporary"; `index` counts those of a kind."""

    kind: str
    index: int


@dataclass(frozen=True)
class Legalized:
    """A call as a sequence of TIR functions on buffers.

    Attributes:
        functions: the functions, each with the values of its parameters.
        constants: constants that Relax made.
        temporaries: values between the functions.
    """

    functions: tuple[tuple[Any, tuple[Value, ...]], ...]
    constants: tuple[np.ndarray, ...]
    temporaries: tuple[TensorType, ...]


@lru_cache(maxsize=64)
def legalize(call: AtenCall) -> Legalized | No:
    """Return the TIR functions of a call, or why there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = _import(call)
            reason = _difference(call, module)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return No(f"TVM Relax cannot lower it: {lines[-1]}")
    return No(reason) if reason else _read(call, module)


class _Module(torch.nn.Module):
    def __init__(self, call: AtenCall) -> None:
        super().__init__()
        self.call = call

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.call(*tensors)


def _import(call: AtenCall) -> Any:
    from tvm import relax
    from tvm.relax.frontend.torch import from_exported_program

    program = torch.export.export(_Module(call), _examples(call), strict=False)
    module = from_exported_program(program)
    passes = relax.transform
    with tvm.target.Target("llvm"):
        return tvm.ir.transform.Sequential(
            [
                passes.LegalizeOps(), passes.AnnotateTIROpPattern(), passes.FoldConstant(), passes.FuseOps(),
                passes.FuseTIR(), passes.DeadCodeElimination(),
            ]
        )(module)  # fmt: skip


def _examples(call: AtenCall) -> tuple[torch.Tensor, ...]:
    """Draw inputs: normal numbers; integers 0 and 1, which are indices of almost everything."""
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for tensor in call.tensors:
        dtype = getattr(torch, tensor.dtype)
        if dtype.is_floating_point:
            drawn.append(torch.randn(tensor.shape, generator=generator).to(dtype))
        else:
            drawn.append(torch.randint(0, 2, tensor.shape, generator=generator).to(dtype))
    return tuple(drawn)


def _difference(call: AtenCall, module: Any) -> str:
    """Run what Relax made; return how it differs from PyTorch, nothing where it does not."""
    from tvm.relax import VirtualMachine

    examples = _examples(call)
    expected = call(*examples)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    machine = VirtualMachine(tvm.compile(module, "llvm"), tvm.cpu())
    found = machine["main"](*[tvm.runtime.from_dlpack(tensor.contiguous()) for tensor in examples])
    arrays = [
        item.numpy() for item in (found if hasattr(found, "__len__") and not hasattr(found, "shape") else [found])
    ]
    for index, (array, tensor) in enumerate(zip(arrays, expected, strict=True)):
        truth = tensor.numpy()
        if (array.shape, array.dtype) != (truth.shape, truth.dtype):
            found_type, true_type = (f"{item.dtype}{list(item.shape)}" for item in (array, truth))
            return f"TVM Relax computes {found_type} as result {index}, PyTorch {true_type}"
        scale = max(float(np.abs(truth[np.isfinite(truth)]).max(initial=0.0)), 1e-6)
        if not np.allclose(array, truth, rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
            return f"TVM Relax computes other numbers than PyTorch as result {index}"
    return ""


def _read(call: AtenCall, module: Any) -> Legalized | No:
    """Read the calls of TIR functions from Relax's main function."""
    from tvm import relax

    main = module["main"]
    values: dict[Any, Any] = {parameter: Value("input", index) for index, parameter in enumerate(main.params)}
    steps: list[tuple[Any, list[Any], list[Any]]] = []
    constants: list[np.ndarray] = []

    def find(item: Any) -> Any:
        if isinstance(item, tvm.ir.Tuple):
            return [find(field) for field in item.fields]
        if item in values:
            return values[item]
        constants.append(item.value.numpy())
        return Value("constant", len(constants) - 1)

    for binding in (binding for block in main.body.blocks for binding in block.bindings):
        value = binding.value
        if isinstance(value, tvm.ir.Call):
            if value.op.name != "relax.call_tir":
                return No(f"TVM Relax has no kernel for {value.op.name}, only a call into its runtime")
            outputs = [object() for _ in _types(binding.var.ty)]
            values[binding.var] = outputs if len(outputs) > 1 else outputs[0]
            steps.append((module[value.args[0]], find(value.args[1]), outputs))
        elif isinstance(value, relax.TupleGetItem):
            values[binding.var] = find(value.tuple_value)[value.index]
        else:
            values[binding.var] = find(value)
    return _name(call, steps, find(main.body.body), constants)


def _name(call: AtenCall, steps: list[Any], results: Any, constants: list[np.ndarray]) -> Legalized | No:
    """Give every output of a step its place: a result of the call, or a temporary."""
    results = results if isinstance(results, list) else [results]
    places: dict[Any, Value] = {}
    for index, result in enumerate(results):
        if isinstance(result, Value) or result in places:
            return No(f"TVM Relax does not compute result {index}")
        places[result] = Value("result", index)
    temporaries: list[TensorType] = []
    functions = []
    for function, inputs, outputs in steps:
        types = [parameter.ty for parameter in list(function.params)[-len(outputs) :]]
        for output, kind in zip(outputs, types, strict=True):
            if output not in places:
                places[output] = Value("temporary", len(temporaries))
                temporaries.append(TensorType(tuple(int(size) for size in kind.shape), str(kind.dtype)))
        arguments = tuple(places.get(item, item) for item in (*inputs, *outputs))
        functions.append((tvm.s_tir.renew_defs(function), arguments))
    return Legalized(tuple(functions), tuple(constants), tuple(temporaries))


def _types(kind: Any) -> list[Any]:
    return list(kind.fields) if hasattr(kind, "fields") else [kind]


def tensor_type(tensor: torch.Tensor) -> TensorType:
    """Return shape and dtype of a tensor."""
    return TensorType(tuple(int(size) for size in tensor.shape), dtype_name(tensor.dtype))
