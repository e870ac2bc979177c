"""A library in this process, called through its C interface."""

import _ctypes
import ctypes
import os
import platform
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from prunus.errors import ArtifactError, PrunusError, TargetError
from prunus.manifest import Manifest, library_name

ERROR_CPU = 1


class _Options(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("threads", ctypes.c_int32),
        ("arena", ctypes.c_void_p),
        ("arena_size", ctypes.c_size_t),
    )


class NativeModel:
    """One instance of a library. Its memory and threads end with the object.

    Args:
        library: bytes of the shared library.
        manifest: its manifest.
        threads: threads that share the steps.

    Raises:
        ArtifactError: the library does not load or refuses to run.
        TargetError: this processor lacks a feature that the library needs.
    """

    def __init__(self, library: bytes, manifest: Manifest, threads: int) -> None:
        self._manifest = manifest
        self._library = _open_private_copy(library, manifest.name)
        self._model = ctypes.c_void_p()
        options = _Options(ctypes.sizeof(_Options), threads, None, 0)
        self._check(self._symbol("create")(ctypes.byref(self._model), ctypes.byref(options)))
        weakref.finalize(self, _close, self._library, self._symbol("destroy"), self._model, os.getpid())

    def run_many(self, sets: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        """Run each set of inputs. `sets` are contiguous and match the manifest; the outputs are new arrays."""
        return [self._call("run", arrays) for arrays in sets]

    def profile(self, arrays: Sequence[np.ndarray]) -> list[int]:
        """Run once and return the nanoseconds of each step."""
        step_ns = (ctypes.c_uint64 * len(self._manifest.steps))()
        self._call("profile", arrays, step_ns)
        return list(step_ns)

    def _call(self, function: str, arrays: Sequence[np.ndarray], *more: object) -> list[np.ndarray]:
        outputs = [np.empty(record.shape, record.dtype) for record in self._manifest.outputs]
        self._check(self._symbol(function)(self._model, _pointers(arrays), _pointers(outputs), *more))
        return outputs

    def _symbol(self, function: str) -> Callable[..., int]:
        symbol: Callable[..., int] = getattr(self._library, f"{self._manifest.name}_{function}")
        return symbol

    def _check(self, code: int) -> None:
        if code:
            error = self._library[f"{self._manifest.name}_error"]
            error.restype = ctypes.c_char_p
            raise library_error(code, error(code).decode())


def process_architecture() -> str:
    """Return what libraries this process can load: "x86_64", "aarch64" or "arm", by the names of targets."""
    machine = platform.machine()
    if machine.startswith("arm") or (machine == "aarch64" and sys.maxsize < 2**32):
        return "arm"
    return machine


def library_error(code: int, text: str) -> PrunusError:
    """Return the exception for a code of a library and the text that the library has for it."""
    parts = {"": "", "Expected": "", "Do:": ""}
    for line in text.splitlines():
        key = next((key for key in ("Expected", "Do:") if line.startswith(f"{key} ")), "")
        parts[key] = line.removeprefix(f"{key} ")
    kind = TargetError if code == ERROR_CPU else ArtifactError
    return kind(parts[""], expected=parts["Expected"], do=parts["Do:"])


def _open_private_copy(library: bytes, name: str) -> ctypes.CDLL:
    """Load exactly these bytes. The C library would answer a path that it has seen with what was there at that time."""
    try:
        with tempfile.TemporaryDirectory(prefix="prunus-") as folder:
            path = Path(folder) / library_name(name)
            path.write_bytes(library)
            return ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        raise ArtifactError(
            f"the library does not load: {error}",
            do="check that temporary files may be executed (TMPDIR), or compile the model again",
        ) from error


def _pointers(arrays: Sequence[np.ndarray]) -> "ctypes.Array[ctypes.c_void_p]":
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _close(library: ctypes.CDLL, destroy: Callable[..., int], model: ctypes.c_void_p, process: int) -> None:
    # After a fork the child has the memory of the instance but none of its threads to stop.
    if os.getpid() == process:
        destroy(model)
        _ctypes.dlclose(library._handle)
