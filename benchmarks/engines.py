"""The engines that are compared, each behind its cheapest interface: memory is ready, a run is one call."""

import ctypes
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from torch import Tensor, nn

from prunus import Artifact


class Engine(Protocol):
    """One compiled network of one input and one output, with its memory.

    Attributes:
        title: name for tables.
        run: computes once; takes and returns nothing.
    """

    title: str
    run: Callable[[], object]

    @property
    def output(self) -> np.ndarray:
        """What the last run computed."""
        ...


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

    def __init__(self, artifact: Artifact, x: np.ndarray, *, threads: int) -> None:
        name, record = artifact.manifest.name, artifact.manifest.outputs[0]
        self._folder = tempfile.TemporaryDirectory()
        library = ctypes.CDLL(str(artifact.save(self._folder.name) / f"lib{name}.so"))
        run = getattr(library, f"{name}_run")
        self._destroy = getattr(library, f"{name}_destroy")
        self._model = ctypes.c_void_p()
        options = Options(ctypes.sizeof(Options), threads, None, 0)
        code = getattr(library, f"{name}_create")(ctypes.byref(self._model), ctypes.byref(options))
        if code:
            error = getattr(library, f"{name}_error")
            error.restype = ctypes.c_char_p
            raise RuntimeError(error(code).decode())
        self._input, self._output = x, np.empty(record.shape, record.dtype)
        inputs = (ctypes.c_void_p * 1)(self._input.ctypes.data)
        outputs = (ctypes.c_void_p * 1)(self._output.ctypes.data)
        self.run: Callable[[], object] = lambda: run(self._model, inputs, outputs)

    @property
    def output(self) -> np.ndarray:
        """What the last run computed."""
        return self._output

    def close(self) -> None:
        """Stop the threads and free the memory."""
        self._destroy(self._model)
        self._folder.cleanup()


class OnnxRuntime:
    """An inference session of ONNX Runtime with all optimisations and bound memory."""

    title = "ONNX Runtime"

    def __init__(self, model: bytes | Path, x: np.ndarray, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (source,), (result,) = session.get_inputs(), session.get_outputs()
        self._value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(result.shape, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input(source.name, onnxruntime.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output(result.name, self._value)
        self.run: Callable[[], object] = lambda: session.run_with_iobinding(binding)

    @property
    def output(self) -> np.ndarray:
        """What the last run computed."""
        return self._value.numpy()


def exact_session(model: bytes | str | Path) -> onnxruntime.InferenceSession:
    """Return a session of ONNX Runtime, one thread, that computes integers exactly where it can.

    Left alone, its sums of products of bytes saturate on x86 without VNNI.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Fail:  # exactness does not know weights that several operators share
        options.add_session_config_entry("session.x64quantprecision", "0")
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def to_onnx(module: nn.Module, x: Tensor) -> bytes:
    """Return `module` as an ONNX file for inputs like `x`."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        torch.onnx.export(module, (x,), path, input_names=["x"], output_names=["y"], opset_version=17, dynamo=False)
        return path.read_bytes()
