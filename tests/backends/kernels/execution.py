"""Runs one compiled kernel on the test's memory: here through ctypes, for other processors under the emulator."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from prunus.backends.codegen.lower import write_object
from prunus.targets import Target
from prunus.targets.host import missing_features

_COMPILERS = {"aarch64": "aarch64-linux-gnu-gcc", "arm": "arm-linux-gnueabihf-gcc"}

# Reads every buffer from a file, calls the kernel on every range, writes the buffers back.
_PROGRAM = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
void kernel({types}int32_t, int32_t);
static char *memory[{count}];
int main(void) {{
  static const long sizes[] = {{{sizes}}}, offsets[] = {{{offsets}}}, bounds[] = {{{bounds}}};
  FILE *file = fopen("{path}", "r+b");
  for (int i = 0; i < {count}; i++) {{
    memory[i] = aligned_alloc(64, (sizes[i] + 127) / 64 * 64);
    if (fread(memory[i], 1, sizes[i], file) != (size_t)sizes[i]) return 1;
  }}
  for (int i = 0; i + 1 < {bound_count}; i++) kernel({values}bounds[i], bounds[i + 1]);
  rewind(file);
  for (int i = 0; i < {count}; i++) fwrite(memory[i], 1, sizes[i], file);
  return fclose(file);
}}
"""


@dataclass(frozen=True)
class Pointer:
    """An argument of a kernel: a flat tensor and the element that the pointer points to."""

    memory: Tensor
    offset: int = 0

    @property
    def size_bytes(self) -> int:
        return self.memory.numel() * self.memory.element_size()

    @property
    def offset_bytes(self) -> int:
        return self.offset * self.memory.element_size()


def has_processor(target: Target) -> bool:
    """Tell whether this machine has the target's processor, or emulates it."""
    return bool(shutil.which(target.runner[0])) if target.runner else not missing_features(target)


def can_run(target: Target) -> bool:
    """Tell whether kernels of a target run on this machine: foreign ones need a compiler for what calls them."""
    return has_processor(target) and (not target.runner or bool(shutil.which(_COMPILERS[target.architecture])))


def skip_unless_run(target: Target) -> None:
    """Skip a test whose kernels were compiled, but run nowhere on this machine."""
    if not can_run(target):
        pytest.skip(f"kernels for {target.name} compile, but nothing here runs them (scripts/install-system)")


def execute(function: Any, pointers: Sequence[Pointer], bounds: Sequence[int], target: Target) -> None:
    """Compile a TIR function and call it once for each range between neighbouring `bounds`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_object(function, "kernel", target, folder / "kernel.o")
        run = _emulate if target.runner else _call
        run(folder, pointers, bounds, target)


def _call(folder: Path, pointers: Sequence[Pointer], bounds: Sequence[int], target: Target) -> None:
    library = folder / "kernel.so"
    subprocess.run(["cc", "-shared", "-o", library, folder / "kernel.o", "-lm"], check=True)
    kernel = ctypes.CDLL(str(library)).kernel
    addresses = [ctypes.c_void_p(pointer.memory.data_ptr() + pointer.offset_bytes) for pointer in pointers]
    for begin, end in pairwise(bounds):
        kernel(*addresses, ctypes.c_int32(begin), ctypes.c_int32(end))


def _emulate(folder: Path, pointers: Sequence[Pointer], bounds: Sequence[int], target: Target) -> None:
    distinct = {id(pointer.memory): pointer.memory for pointer in pointers}
    order, image = list(distinct), folder / "memory"
    flat = [memory.view(torch.uint8) for memory in distinct.values()]
    image.write_bytes(b"".join(memory.numpy().tobytes() for memory in flat))
    values = "".join(f"memory[{order.index(id(p.memory))}] + offsets[{i}], " for i, p in enumerate(pointers))
    program = _PROGRAM.format(
        types="void *, " * len(pointers), count=len(order), path=image, values=values, bound_count=len(bounds),
        sizes=", ".join(str(memory.numel()) for memory in flat),
        offsets=", ".join(str(pointer.offset_bytes) for pointer in pointers), bounds=", ".join(map(str, bounds)),
    )  # fmt: skip
    (folder / "main.c").write_text(program)
    compiler = _COMPILERS[target.architecture]
    sources = [folder / "main.c", folder / "kernel.o"]
    subprocess.run([compiler, "-static", "-o", folder / "main", *sources, "-lm"], check=True)
    subprocess.run([*target.runner, folder / "main"], check=True)
    content, start = torch.frombuffer(bytearray(image.read_bytes()), dtype=torch.uint8), 0
    for memory in flat:
        memory.copy_(content[start : start + memory.numel()])
        start += memory.numel()
