"""The target of the machine that Prunus runs on."""

import dataclasses
import os
import platform
from pathlib import Path

from prunus.errors import TargetError
from prunus.targets.target import Cache, Target, load_target

# From the most capable target to the least; the first whose features this processor has is taken.
_X86_LEVELS = ("x86-64-vnni", "x86-64-v4", "x86-64-v3", "x86-64-v2")
# The kernel's names of features, where they differ from ours.
_FLAGS = {
    "x86_64": {"sse4.2": "sse4_2", "avx512vnni": "avx512_vnni"},
    "aarch64": {"neon": "asimd", "dotprod": "asimddp", "fp16": "asimdhp"},
}


def native_target() -> Target:
    """Return the target of this machine: the best level that its processor supports, with its own caches and cores.

    Raises:
        TargetError: no target fits this processor.
    """
    machine = platform.machine()
    if machine == "x86_64":
        for name in _X86_LEVELS:
            target = load_target(name)
            if not missing_features(target):
                return _here(target)
        raise TargetError(
            "this x86-64 processor lacks SSE4.2", expected="x86-64-v2 or later", do="compile for another target"
        )
    if machine == "aarch64":
        name = "rpi5" if "asimddp" in processor_flags() else "generic-aarch64"
        return _here(load_target(name))
    raise TargetError(
        f"no native target for {machine!r}", expected="x86_64 or aarch64", do="name a target from `prunus targets`"
    )


def missing_features(target: Target) -> frozenset[str]:
    """Return the features of a target that this machine's processor lacks."""
    flags = processor_flags()
    names = _FLAGS.get(target.architecture, {})
    return frozenset(feature for feature in target.features if names.get(feature, feature) not in flags)


def processor_flags() -> frozenset[str]:
    """Return the feature flags that the kernel reports for the first processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _here(target: Target) -> Target:
    cores = len(os.sched_getaffinity(0))
    return dataclasses.replace(
        target,
        name="native",
        cores=cores,
        runner=(),
        cache=_caches(target.cache),
        title=f"this machine: {target.title}",
    )


def _caches(default: Cache) -> Cache:
    sizes: dict[int, int] = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (index / "type").read_text().strip() == "Instruction":
            continue
        text = (index / "size").read_text().strip()
        sizes[int((index / "level").read_text())] = int(text.rstrip("K")) * (1024 if text.endswith("K") else 1)
    return Cache(sizes.get(1, default.l1_bytes), sizes.get(2, default.l2_bytes), sizes.get(3, default.l3_bytes))
