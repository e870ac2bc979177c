"""Sizes of compiled kernels, compared with binutils."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import prunus
from prunus.backends.codegen.compile import compile_kernels
from prunus.backends.codegen.objects import code_bytes


@pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils are not installed")
@pytest.mark.parametrize("target", ["native", "rpi4", "rpi3-armhf"])
def test_code_bytes(target: str) -> None:
    artifact = prunus.compile(torch.nn.Conv2d(3, 5, 3), target=target, example_inputs=(torch.zeros(1, 3, 9, 9),))
    program = artifact.program
    kernels = compile_kernels((step.kernel for step in program.steps), program.target)
    for step, record in zip(program.steps, artifact.manifest.steps, strict=True):
        path = kernels[step.kernel].object_path
        assert record.code_bytes == code_bytes(path) == allocated(path) > 0


def allocated(path: Path) -> int:
    """Add up the sections that are loaded, but for the helpers that TVM adds to every object."""
    text = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"\] (\S+) +(?!NULL)\S+ +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) [0-9a-f]+ +([A-Z]*) ", text)
    return sum(int(size, 16) for name, size, flags in rows if "A" in flags and not name.startswith(".text.tvm"))
