"""Folders that live as long as an object."""

import shutil
import tempfile
import weakref
from pathlib import Path


class TemporaryFolder:
    """A folder that is deleted with this object, silently, as `tempfile.TemporaryDirectory` is not.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="prunus-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
