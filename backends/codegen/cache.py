"""The folder that keeps compiled kernels, the runtime and the tools' own files between builds."""

import os
from pathlib import Path

from prunus.errors import OutputError


def cache_dir() -> Path:
    """Return the cache's folder, made where it was missing: `$PRUNUS_CACHE`, else `~/.cache/prunus`.

    Raises:
        OutputError: it cannot be made.
    """
    given = os.environ.get("PRUNUS_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "prunus"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the cache folder {folder}: {error.strerror or error}",
            do="set PRUNUS_CACHE to a folder that can be written",
        ) from error
    return folder
