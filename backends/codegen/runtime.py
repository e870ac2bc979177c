"""The compiled C runtime, once a target in the cache."""

import hashlib
import os
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.codegen.toolchain import C_FLAGS, zig_cc, zig_target
from prunus.targets import load_target

RUNTIME = Path(__file__).resolve().parents[1] / "runtime"
RUNTIME_SOURCES = tuple(RUNTIME / name for name in ("cpu.c", "model.c", "pool.c"))


def runtime_objects(system: str) -> list[Path]:
    """Return the runtime's object files for a system of `zig_target`, compiled where the cache lacks them."""
    hide_path = f"-ffile-prefix-map={RUNTIME}=runtime"
    return [_cached(system, [hide_path, "-c", source], f"{source.stem}.o") for source in RUNTIME_SOURCES]


def harness(system: str) -> Path:
    """Return the program that runs a library on a foreign system, compiled where the cache lacks it."""
    return _cached(system, ["-s", RUNTIME / "harness.c", "-ldl"], "harness")


def trial(system: str) -> Path:
    """Return the program that tries one kernel, compiled where the cache lacks it."""
    # Kernels call functions of the mathematical library, and only kernels do.
    libraries = ["-ldl", "-Wl,--no-as-needed", "-lm"]
    return _cached(system, ["-s", RUNTIME / "trial.c", *libraries], "trial")


def plugin() -> Path:
    """Return the plugin that counts instructions under this machine's emulators, compiled where the cache lacks it."""
    system = zig_target(load_target("native"))
    return _cached(system, ["-s", "-shared", RUNTIME / "blocks.c"], "libblocks.so")


@cache
def _key(system: str) -> str:
    """Digest of everything that the results follow from."""
    digest = hashlib.sha256(repr((system, C_FLAGS, metadata.version("ziglang"))).encode())
    for path in sorted(RUNTIME.glob("*.[ch]")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cached(system: str, arguments: list[str | Path], name: str) -> Path:
    result = cache_dir() / "runtime" / _key(system) / name
    if not result.exists():
        result.parent.mkdir(parents=True, exist_ok=True)
        # Beside, then renamed: builds that run at the same time see a whole file or none.
        with tempfile.TemporaryDirectory(dir=result.parent) as work:
            fresh = Path(work) / name
            zig_cc(system, [*C_FLAGS, *arguments, "-o", fresh])
            os.replace(fresh, result)
    return result
