"""Runs one compiled kernel on the test's memory, in a program of its own, for other processors under the emulator.

Every buffer ends where a page begins that nobody may touch: a kernel that reads or writes beyond it is killed.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
#include <sys/mman.h>
enum {{ PAGE = 4096 }};
void kernel({types}int32_t, int32_t);
static char *memory[{count}];
static char *allocate(long size) {{
  long pages = (size + PAGE - 1) / PAGE * PAGE;
  char *start = mmap(0, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(start + pages, PAGE, PROT_NONE);
  return start + pages - size;
}}
int main(void) {{
  static const long sizes[] = {{{sizes}}}, offsets[] = {{{offsets}}}, bounds[] = {{{bounds}}};
  FILE *file = fopen("{path}", "r+b");
  for (int i = 0; i < {count}; i++) {{
    memory[i] = allocate(sizes[i]);
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
    return has_processor(target) and bool(shutil.which(_compiler(target)))


def _compiler(target: Target) -> str:
    return _COMPILERS[target.architecture] if target.runner else "cc"


def skip_unless_run(target: Target) -> None:
    """Skip a test whose kernels were compiled, but run nowhere on this machine."""
    if not can_run(target):
        pytest.skip(f"kernels for {target.name} compile, but nothing here runs them (scripts/install-system)")


def execute(function: Any, pointers: Sequence[Pointer], bounds: Sequence[int], target: Target) -> None:
    """Compile a TIR function and call it once for each range between neighbouring `bounds`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_object(function, "kernel", target, folder / "kernel.o")
        _run(folder, pointers, bounds, target)


def _run(folder: Path, pointers: Sequence[Pointer], bounds: Sequence[int], target: Target) -> None:
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
    sources = [folder / "main.c", folder / "kernel.o"]
    linked = ["-static"] if target.runner else []
    subprocess.run([_compiler(target), *linked, "-o", folder / "main", *sources, "-lm"], check=True)
    subprocess.run([*target.runner, folder / "main"], check=True)
    content, start = torch.frombuffer(bytearray(image.read_bytes()), dtype=torch.uint8), 0
    for memory in flat:
        memory.copy_(content[start : start + memory.numel()])
        start += memory.numel()
