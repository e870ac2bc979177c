"""Zig's C compiler and linker: one tool for every target, with its own C libraries down to the oldest glibc."""

import errno
import importlib.util
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.errors import BuildError, OutputError
from prunus.targets import Target

# Driver and runtime keep to the baseline of the architecture (no -mcpu): they decide whether the kernels may run.
C_FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-ident", "-g0", "-Wall", "-Wextra")


def zig() -> Path:
    """Return Zig's executable from the `ziglang` package. Starting it directly saves one start of Python a call."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("the package ziglang is not installed", do="pip install ziglang")
    return Path(spec.submodule_search_locations[0]) / "zig"


def zig_target(target: Target) -> str:
    """Return Zig's name of the system that `target` runs: triple and lowest glibc."""
    return f"{target.link_triple}.{target.glibc}"


def zig_cc(system: str, arguments: Sequence[str | Path], *, private_cache: Path | None = None) -> None:
    """Run `zig cc`.

    Args:
        system: a name from `zig_target`.
        arguments: the rest of the command.
        private_cache: where Zig leaves its copies of what it compiles; by default in the common cache, for ever.

    Raises:
        BuildError: the tool failed; the message has its output.
        OutputError: the disk is full.
    """
    common = cache_dir() / "zig"
    environment = {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(common),
        "ZIG_LOCAL_CACHE_DIR": str(private_cache or common),
    }
    command = [zig(), "cc", "-target", system, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return
    if "NoSpaceLeft" in result.stderr or os.strerror(errno.ENOSPC) in result.stderr:
        raise OutputError("the disk is full", do=f"free space for temporary files and for {cache_dir()}")
    raise BuildError(f"zig cc failed for {system}:\n{result.stderr.strip()}", do="report this as a defect of Prunus")


def link_kernel(kernel: CompiledKernel, library: Path) -> None:
    """Link one kernel alone into a shared library, for trials; its calls of libm are answered by who loads it.

    Raises:
        BuildError: the linker failed.
    """
    command: list[str | Path] = [zig(), "ld.lld", "-shared", "-o", library, kernel.object_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"the kernel {kernel.symbol} does not link:\n{result.stderr.strip()}")
