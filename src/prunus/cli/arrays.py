"""Inputs and outputs of models as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prunus.errors import InputError, OutputError
from prunus.manifest import Manifest, TensorRecord

_SEED = 0


def read_inputs(manifest: Manifest, text: str) -> list[np.ndarray]:
    """Return one array for each input of a model.

    Args:
        manifest: of the model.
        text: a .npy file for a model of one input, a .npz file with an array for each input by name, or "random".

    Raises:
        InputError: no such file, or arrays that are missing.
    """
    if text == "random":
        return random_inputs(manifest)
    records = manifest.inputs
    names = ", ".join(record.name for record in records)
    path = Path(text)
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", expected="a .npy or .npz file, or the word random",
            do=f"save the inputs ({names}) with numpy.savez",
        ) from error  # fmt: skip
    if isinstance(loaded, np.ndarray):
        if len(records) != 1:
            raise InputError(
                f"{path} holds one array", expected=f"{len(records)} inputs: {names}",
                do="save all of them in one .npz file",
            )  # fmt: skip
        return [loaded]
    with loaded:
        if len(records) == 1 and len(loaded.files) == 1:
            return [loaded[loaded.files[0]]]
        missing = [record.name for record in records if record.name not in loaded.files]
        if missing:
            raise InputError(
                f"{path} holds {', '.join(loaded.files) or 'nothing'}", expected=f"arrays named {names}",
                do=f"add {', '.join(missing)}",
            )  # fmt: skip
        return [loaded[record.name] for record in records]


def random_inputs(manifest: Manifest) -> list[np.ndarray]:
    """Return the same random inputs every time: normal numbers, and zeros and ones where they are integers."""
    generator = np.random.default_rng(_SEED)
    return [_random(generator, record) for record in manifest.inputs]


def _random(generator: np.random.Generator, record: TensorRecord) -> np.ndarray:
    # Zeros and ones are fit for all that integers stand for: token numbers, masks, positions.
    whole = np.dtype(record.dtype).kind in "iub"
    values = generator.integers(0, 2, record.shape) if whole else generator.standard_normal(record.shape)
    return np.asarray(values).astype(record.dtype)


def write_outputs(manifest: Manifest, outputs: Sequence[np.ndarray], path: Path) -> None:
    """Write outputs by name to a .npz file, or the only one to a .npy file.

    Raises:
        OutputError: the file cannot be written.
        InputError: several outputs and a .npy file.
    """
    if path.suffix == ".npy" and len(outputs) != 1:
        raise InputError(f"{path} for {len(outputs)} outputs", expected="a .npz file", do=f"write to {path.stem}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, outputs[0])
        else:
            named = {record.name: array for record, array in zip(manifest.outputs, outputs, strict=True)}
            np.savez(path, **named)  # type: ignore[arg-type]
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", do="free space, or name another file"
        ) from error
