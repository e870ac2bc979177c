"""What a measured figure needs beside it: machine, versions, date."""

import os
import platform
from datetime import date
from importlib import metadata
from pathlib import Path

PACKAGES = ("prunus", "apache-tvm", "torch", "onnxruntime", "onnx", "numpy")


def processor() -> str:
    """Return the processor's name as the kernel reports it, and the cores that this process may use."""
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            name = value.strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def versions() -> dict[str, str]:
    """Return the installed versions of what takes part."""
    return {package: metadata.version(package) for package in PACKAGES}


def caption(**settings: object) -> str:
    """Return one line for the foot of a table: processor, `settings`, versions, date."""
    parts = [processor(), *(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())]
    return "; ".join(
        [*parts, ", ".join(f"{name} {version}" for name, version in versions().items()), str(date.today())]
    )
