"""Kernels to objects: found in the cache on disk, or compiled by worker processes."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import metadata, resources

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.codegen.workers import shared_workers
from prunus.backends.plan.program import KernelSpec
from prunus.targets import Target

Progress = Callable[[int, int], None]

# Facts of a target that change no kernel: targets that differ in these alone share kernels.
_NO_BUSINESS_OF_KERNELS = frozenset({"name", "title", "cores", "clock_mhz", "glibc", "runner"})


def compile_kernels(
    specs: Iterable[KernelSpec], target: Target, *, on_progress: Progress | None = None
) -> dict[KernelSpec, CompiledKernel]:
    """Return the compiled kernel of every spec.

    Args:
        specs: what to compile; equal ones once.
        target: for which processor.
        on_progress: called with the number of finished kernels and of all.

    Raises:
        BuildError: a kernel that does not compile; the message names it.
        OutputError: the disk is full.
    """
    kernels = {spec: kernel_of(spec, target) for spec in dict.fromkeys(specs)}
    missing = [spec for spec, kernel in kernels.items() if not kernel.object_path.exists()]
    done = len(kernels) - len(missing)
    report = on_progress or (lambda finished, total: None)
    report(done, len(kernels))
    if missing:
        for _ in shared_workers().map(missing, [kernels[spec] for spec in missing], target):
            done += 1
            report(done, len(kernels))
    return kernels


def kernel_of(spec: KernelSpec, target: Target) -> CompiledKernel:
    """Name a kernel, and its place in the cache, by everything that its code depends on."""
    key = hashlib.sha256(repr((spec, facts_of_kernels(target), template_version())).encode()).hexdigest()
    return CompiledKernel(f"k_{key[:16]}", cache_dir() / "kernels" / f"{key}.o")


def facts_of_kernels(target: Target) -> dict[str, object]:
    """Return what kernels depend on of a target, by name."""
    facts = dataclasses.asdict(target) | {"features": sorted(target.features)}
    return {name: fact for name, fact in facts.items() if name not in _NO_BUSINESS_OF_KERNELS}


@lru_cache(maxsize=1)
def template_version() -> str:
    """Return a hash of the emitters' sources and the version of TVM."""
    digest = hashlib.sha256(metadata.version("apache-tvm").encode())
    for folder in ("prunus.backends.kernels", "prunus.backends.codegen"):
        for file in sorted(resources.files(folder).iterdir(), key=lambda item: item.name):
            if file.name.endswith(".py") and (folder.endswith("kernels") or file.name == "lower.py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()
