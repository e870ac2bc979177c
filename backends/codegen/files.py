"""Files that appear whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from prunus.errors import OutputError


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` into `folder`, all or none of them: beside first, renamed once all are on the disk.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".prunus-", dir=folder) as beside:
            for name, data in files.items():
                _write(Path(beside) / name, data)
            for name in files:
                os.replace(Path(beside) / name, folder / name)
    except OSError as error:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise OutputError(
            f"cannot write {folder}: {error.strerror or error}",
            expected=f"a folder with {sum(map(len, files.values()))} free bytes",
            do="free space, or name another folder",
        ) from error


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
