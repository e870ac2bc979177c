"""Files of Keras models."""

import os
import sys
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

from prunus.errors import ImportModelError, UnsafeModel

SUFFIXES = (".keras", ".h5", ".hdf5")


def is_keras_model(model: object) -> bool:
    """Tell whether an object is a Keras 3 layer or model; imports nothing."""
    layer = getattr(sys.modules.get("keras"), "Layer", None)
    return layer is not None and isinstance(model, layer)


def load_model(path: Path) -> tuple[Any, str | None]:
    """Load a `.keras` or HDF5 file with Keras, on the backend that Keras already runs on, else on PyTorch.

    Returns:
        The model, and the backend that saved it: HDF5 files note it, `.keras` files do not.

    Raises:
        UnsafeModel: the file holds code (a `Lambda` layer).
        ImportModelError: Keras is not installed, or cannot read the file.
    """
    keras = keras_module()
    if not path.is_file():
        raise ImportModelError(f"{path} is no file", expected="a model that keras saved")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False), _saved_by(path)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        if "safe_mode" in str(error) or "Lambda" in str(error):
            raise UnsafeModel(
                f"{path} holds Python code: {first}", expected="a model without Lambda layers",
                do="if you trust it, load it with keras.saving.load_model(path, safe_mode=False) and pass the model",
            ) from error  # fmt: skip
        raise ImportModelError(
            f"Keras cannot load {path}: {first}",
            expected="a whole model as model.save wrote it" if _is_whole(path) else "a whole model, not only weights",
            do="load it with keras.saving.load_model(path, custom_objects={...}) and pass the model",
        ) from error


def keras_module() -> ModuleType:
    """Import Keras; where nobody has done so or chosen its backend yet, on PyTorch, which is always here.

    Raises:
        ImportModelError: it is not installed.
    """
    chosen = "keras" in sys.modules or "KERAS_BACKEND" in os.environ
    if not chosen:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ImportError as error:
        raise ImportModelError(
            f"Keras cannot be imported: {error}", expected="Keras 3", do="pip install 'prunus[keras]'"
        ) from error
    finally:
        if not chosen:
            del os.environ["KERAS_BACKEND"]
    return keras


def _saved_by(path: Path) -> str | None:
    if zipfile.is_zipfile(path):
        return None
    import h5py

    with h5py.File(path) as file:
        backend = file.attrs.get("backend")
    return backend.decode() if isinstance(backend, bytes) else backend


def _is_whole(path: Path) -> bool:
    return not path.name.endswith(".weights.h5") and (path.suffix != ".keras" or zipfile.is_zipfile(path))
