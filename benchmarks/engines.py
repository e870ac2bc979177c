"""The engines that are compared, each behind its cheapest interface: memory is ready, a run is one call."""

import ctypes
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

import prunus


class Engine(Protocol):
    """One compiled network with its memory.

    Attributes:
        title: name for tables.
        run: computes once; takes and returns nothing.
        output: the array that `run` fills.
    """

    title: str
    run: Callable[[], object]
    output: np.ndarray


class Options(ctypes.Structure):
    """`NAME_options` of the C interface."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("threads", ctypes.c_int32),
        ("arena", ctypes.c_void_p),
        ("arena_size", ctypes.c_size_t),
    )


class Prunus:
    """A library of Prunus, called through its C interface."""

    title = "Prunus"

    def __init__(self, module: nn.Module, x: Tensor, *, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.artifact = prunus.compile(module, target="native", example_inputs=(x,), name="net")
        self.artifact.save(self._folder.name)
        library = ctypes.CDLL(str(Path(self._folder.name, "libnet.so")))
        library.net_error.restype = ctypes.c_char_p
        self._model = ctypes.c_void_p()
        options = Options(ctypes.sizeof(Options), threads, None, 0)
        code = library.net_create(ctypes.byref(self._model), ctypes.byref(options))
        if code:
            raise RuntimeError(library.net_error(code).decode())
        record = self.artifact.manifest.outputs[0]
        self._input = x.numpy()
        self.output = np.empty(record.shape, record.dtype)
        inputs = (ctypes.c_void_p * 1)(self._input.ctypes.data)
        outputs = (ctypes.c_void_p * 1)(self.output.ctypes.data)
        self.run = lambda: library.net_run(self._model, inputs, outputs)


class OnnxRuntime:
    """An inference session of ONNX Runtime with all optimisations and bound memory."""

    title = "ONNX Runtime"

    def __init__(self, module: nn.Module, x: Tensor, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(to_onnx(module, x), options, providers=["CPUExecutionProvider"])
        with torch.no_grad():
            shape = tuple(module(x).shape)
        self._value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x.numpy()))
        binding.bind_ortvalue_output("y", self._value)
        self.run = lambda: session.run_with_iobinding(binding)

    @property
    def output(self) -> np.ndarray:
        return self._value.numpy()


def to_onnx(module: nn.Module, x: Tensor) -> bytes:
    """Return `module` as an ONNX file with the input "x" and the output "y"."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), file, input_names=["x"], output_names=["y"], opset_version=17, dynamo=False)
    return file.getvalue()
