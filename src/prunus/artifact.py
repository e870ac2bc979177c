"""A compiled model: save it, load it, run it."""

import copy
import hashlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prunus.emulated import EmulatedModel
from prunus.errors import ArtifactError, InputError
from prunus.manifest import History, Manifest, TensorRecord, find_manifest, library_name, manifest_name
from prunus.native import NativeModel, process_architecture
from prunus.report import REPORT_NAME, Report
from prunus.temporary import TemporaryFolder

if TYPE_CHECKING:
    from prunus.backends.codegen import CompiledKernel
    from prunus.backends.plan.program import KernelSpec, Program


class Artifact:
    """A shared library with its header and manifest, callable like a function.

    Args:
        place: the folder that holds one library, or the path of its manifest NAME.json.
        threads: threads that share the work of a call; 1 is the calling thread alone.
        program, module: what compilation leaves; None after `prunus.load`.

    Attributes:
        manifest: the content of NAME.json.

    Raises:
        ArtifactError: there is no whole library at `place`.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        threads: int = 1,
        program: Any = None,
        module: Any = None,
    ) -> None:
        manifest_path = find_manifest(Path(place))
        self.folder = manifest_path.parent
        self.manifest = Manifest.from_json(manifest_path.read_text())
        self.program, self.module = program, module
        self._temporary: TemporaryFolder | None = None
        self._lock = threading.Lock()
        self._model: NativeModel | EmulatedModel | None = None
        self._process = os.getpid()
        self._command: tuple[str, ...] | None = None
        self.threads = threads

    @classmethod
    def build(
        cls,
        program: "Program",
        kernels: "Mapping[KernelSpec, CompiledKernel]",
        *,
        history: History | None = None,
        module: Any = None,
    ) -> "Artifact":
        """Build the library of `program` in a temporary folder that lives as long as the artifact.

        Args and errors: as `backends.codegen.link.build_library`.
        """
        from prunus.backends.codegen.link import build_library

        temporary = TemporaryFolder()
        build_library(program, kernels, temporary.path, history=history)
        artifact = cls(temporary.path / manifest_name(program.name), program=program, module=module)
        artifact._temporary = temporary
        return artifact

    def __repr__(self) -> str:
        return f"<Artifact {self.manifest.name} for {self.manifest.target}>"

    @property
    def report(self) -> Report:
        """What the library consists of, step by step: print it, or read `report.html`."""
        return Report(self.manifest)

    @property
    def threads(self) -> int:
        """Threads that share the work of a call."""
        return self._threads

    @threads.setter
    def threads(self, threads: int) -> None:
        if not 1 <= threads <= self.manifest.max_threads:
            raise InputError(f"threads={threads}", expected=f"1 to {self.manifest.max_threads}")
        with self._lock:
            self._threads, self._model = threads, None

    def __call__(self, *inputs: Any) -> Any:
        """Run the model.

        Args:
            inputs: numpy arrays or torch tensors, of exactly the shapes and dtypes in `manifest.inputs`; contiguous
                ones are read in place.

        Returns:
            One array, or a tuple of them where the model has several outputs; tensors where an input is a tensor.

        Raises:
            InputError: wrong number, shape or dtype of inputs.
            TargetError: this machine cannot run the library.
            ArtifactError: the library is damaged or refuses to run.
        """
        return self.run_many([inputs])[0]

    def run_many(self, sets: Sequence[Sequence[Any]]) -> list[Any]:
        """Run the model on several sets of inputs and return the result of each, as a call would.

        An emulator starts once for all of them, or once a core where there are many.
        """
        arrays = [self._check(inputs) for inputs in sets]
        with self._lock:
            results = self._instance().run_many(arrays)
        return [_pack(outputs, inputs) for outputs, inputs in zip(results, sets, strict=True)]

    def run_samples(self, *inputs: Any) -> Any:
        """Run the model on any number of samples along dimension 0, in portions of the batch it was compiled for.

        What judges a module judges a library too: `accuracy(artifact.run_samples)`.

        Args:
            inputs: as those of a call, but for the size of dimension 0, which is the same for all.

        Returns:
            As a call does, with as many samples.

        Raises:
            InputError: the model has no batch, or the inputs do not fit it.
        """
        size = _batch(self.manifest)
        arrays = [_as_numpy(value) for value in inputs]
        count = len(arrays[0]) if arrays and arrays[0].ndim else 0
        if not count or any(array.shape[:1] != (count,) for array in arrays):
            raise InputError(
                f"inputs of shapes {[array.shape for array in arrays]}", expected="as many samples in each, at least 1"
            )
        rest = -count % size
        padded = [np.concatenate([array, np.repeat(array[-1:], rest, axis=0)]) if rest else array for array in arrays]
        results = self.run_many([[a[start : start + size] for a in padded] for start in range(0, count, size)])
        outputs = [result if isinstance(result, tuple) else (result,) for result in results]
        joined = [np.concatenate(parts)[:count] for parts in zip(*outputs, strict=True)]
        return _pack(joined, inputs)

    def run_under(self, command: Sequence[str]) -> "Artifact":
        """Return the same library, to be run behind `command`: another emulated processor, for instance.

        Args:
            command: `("qemu-aarch64", "-cpu", "cortex-a72", "-L", "/usr/aarch64-linux-gnu")`.
        """
        other = copy.copy(self)
        other._command, other._lock, other._model = tuple(command), threading.Lock(), None
        return other

    def profile(self, *inputs: Any) -> list[int]:
        """Run once and return the nanoseconds of each step of `manifest.steps`."""
        arrays = self._check(inputs)
        with self._lock:
            return self._instance().profile(arrays)

    def save(self, folder: str | Path) -> Path:
        """Write the library, its header, its manifest and `report.html` into `folder` and return it.

        Raises:
            OutputError: the folder cannot be written; its files are as they were.
        """
        from prunus.backends.codegen.files import write_files

        files = {name: self._read(name) for name in self.manifest.files}
        # The manifest does not vouch for the report: a folder of several libraries has one, the last.
        files[REPORT_NAME] = self.report.html.encode()
        files[manifest_name(self.manifest.name)] = self.manifest.to_json().encode()
        write_files(Path(folder), files)
        return Path(folder)

    def _read(self, name: str) -> bytes:
        """Return the bytes of a file that the manifest lists, checked."""
        path = self.folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing", do="copy the whole folder, or compile the model again")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.manifest.files[name]:
            raise ArtifactError(
                f"{path} is damaged or was replaced",
                expected=f"SHA-256 {self.manifest.files[name]}",
                do="copy the folder again, or compile the model again",
            )
        return data

    def _instance(self) -> NativeModel | EmulatedModel:
        # A forked child has none of its parent's threads: it needs an instance of its own.
        if self._model is None or self._process != os.getpid():
            library = self._read(library_name(self.manifest.name))
            if self._command is None and process_architecture() == self.manifest.architecture:
                self._model = NativeModel(library, self.manifest, self.threads)
            else:
                self._model = EmulatedModel(library, self.manifest, self.threads, self._command or self.manifest.runner)
            self._process = os.getpid()
        return self._model

    def _check(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        expected = self.manifest.inputs
        if len(inputs) != len(expected):
            names = ", ".join(record.name for record in expected)
            raise InputError(
                f"{len(inputs)} inputs", expected=f"{len(expected)}: {names}", do="pass one array for each"
            )
        return [_array(value, record) for value, record in zip(inputs, expected, strict=True)]


def load(place: str | Path, *, threads: int = 1) -> Artifact:
    """Open a library that `Artifact.save` wrote. Imports neither torch nor TVM.

    Args:
        place: the folder, or the path of the manifest NAME.json where a folder holds several.
        threads: threads that share the work of a call.

    Raises:
        ArtifactError: a file is missing, or differs from what the manifest says.
    """
    artifact = Artifact(place, threads=threads)
    for name in artifact.manifest.files:
        artifact._read(name)
    return artifact


def _batch(manifest: Manifest) -> int:
    """Return the size that dimension 0 of all inputs and outputs has.

    Raises:
        InputError: they have no such dimension in common.
    """
    sizes = {record.shape[:1] for record in (*manifest.inputs, *manifest.outputs)}
    if len(sizes) != 1 or sizes == {()}:
        shapes = ", ".join(f"{record.name} {record.shape}" for record in (*manifest.inputs, *manifest.outputs))
        raise InputError(f"a model without a batch: {shapes}", expected="one size of dimension 0", do="call it instead")
    return sizes.pop()[0]


def _as_numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if _is_tensor(value) else np.asarray(value)


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _array(value: Any, record: TensorRecord) -> np.ndarray:
    """Return `value` as a contiguous array, without a copy where it is one."""
    found = f"input {record.name!r} is {_describe(value)}"
    expected = f"{record.dtype} of shape {record.shape}"
    if _is_tensor(value):
        if str(value.dtype).removeprefix("torch.") != record.dtype:
            raise InputError(found, expected=expected, do=f"convert it: .to(torch.{record.dtype})")
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray):
        raise InputError(found, expected=expected, do="pass a numpy array or a torch tensor")
    if value.dtype != record.dtype:
        raise InputError(found, expected=expected, do=f'convert it: .astype("{record.dtype}")')
    if value.shape != record.shape:
        raise InputError(found, expected=expected, do="reshape it, or compile the model for this shape")
    # np.ascontiguousarray would turn a scalar into a vector, and keep what lies at an odd address.
    return value if value.flags.c_contiguous and value.flags.aligned else value.copy(order="C")


def _describe(value: Any) -> str:
    if _is_tensor(value) or isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}"


def _pack(outputs: list[np.ndarray], inputs: Sequence[Any]) -> Any:
    values: list[Any] = list(outputs)
    if any(_is_tensor(value) for value in inputs):
        values = [sys.modules["torch"].from_numpy(output) for output in outputs]
    return values[0] if len(values) == 1 else tuple(values)
