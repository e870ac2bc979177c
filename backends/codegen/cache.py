"""The folder that keeps compiled kernels, the runtime and the tools' own files between builds."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache's folder, made where it was missing: `$PRUNUS_CACHE`, else `~/.cache/prunus`."""
    given = os.environ.get("PRUNUS_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "prunus"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
