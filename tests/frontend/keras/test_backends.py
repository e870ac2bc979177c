"""Models that Keras runs on PyTorch, which computes some layers otherwise than the backends that the tests use."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def test_on_pytorch() -> None:
    files = [FOLDER / "test_open.py", *(FOLDER / "rules" / f"test_{kind}.py" for kind in ("convolution", "pooling"))]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *files],
        env=os.environ | {"KERAS_BACKEND": "torch"}, cwd=FOLDER.parents[2], check=True,
    )  # fmt: skip
