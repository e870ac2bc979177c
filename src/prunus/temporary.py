"""Folders that live as long as an object."""

import shutil
import tempfile
import weakref
from pathlib import Path

from prunus.errors import OutputError


class TemporaryFolder:
    """A folder that is deleted with this object, silently, as `tempfile.TemporaryDirectory` is not.

    Attributes:
        path: the folder.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix="prunus-"))
        except OSError as error:
            raise _no_room(error) from error
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file into the folder and return its path.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.path / name
        try:
            path.write_bytes(data)
        except OSError as error:
            raise _no_room(error) from error
        return path


def _no_room(error: OSError) -> OutputError:
    return OutputError(
        f"cannot write temporary files in {tempfile.gettempdir()}: {error.strerror or error}",
        do="free space there, or set TMPDIR to another folder",
    )
