"""The processor check against what the kernel itself reports, and under emulated processors of several ages."""

import shutil
import subprocess
from pathlib import Path

import pytest

from prunus.backends.codegen import features
from prunus.backends.codegen.features import CpuBit, cpu_bits
from prunus.backends.codegen.runtime import RUNTIME
from prunus.backends.codegen.toolchain import zig_cc
from prunus.errors import TargetError
from prunus.targets import load_target, target_names
from prunus.targets.host import processor_flags
from tests.c_programs import changed_target

NAMES_IN_CPUINFO = {"sse4.1": "sse4_1", "sse4.2": "sse4_2", "bmi": "bmi1", "lzcnt": "abm", "avx512vnni": "avx512_vnni"}


def report(architecture: str, folder: Path, *command: str) -> set[str]:
    """Return the features that `runtime/cpu.c` finds."""
    known: dict[str, CpuBit] = features._BITS[architecture]
    rows = "".join(
        f"{{prunus_cpu_bit bit = {{{bit.source}u, {bit.word}, {bit.bit}, {bit.os_state}}};"
        f'if (prunus_cpu_has(&bit)) puts("{name}");}}'
        for name, bit in known.items()
    )
    source = folder / "report.c"
    source.write_text(f'#include <stdio.h>\n#include "cpu.h"\nint main(void) {{{rows} return 0;}}\n')
    system = {"arm": "arm-linux-gnueabihf.2.28"}.get(architecture, f"{architecture}-linux-gnu.2.28")
    zig_cc(system, ["-O1", f"-I{RUNTIME}", source, RUNTIME / "cpu.c", "-o", folder / "report"])
    return set(subprocess.run([*command, folder / "report"], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.skipif("sse2" not in processor_flags(), reason="this machine is no x86-64")
def test_x86_features_are_those_in_cpuinfo(tmp_path: Path) -> None:
    flags = processor_flags()
    expected = {name for name in features._BITS["x86_64"] if NAMES_IN_CPUINFO.get(name, name) in flags}
    assert report("x86_64", tmp_path) == expected


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed")
@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("cortex-a53", {"neon", "crc32"}),
        ("cortex-a72", {"neon", "crc32"}),
        ("cortex-a76", {"neon", "crc32", "atomics", "fp16", "dotprod"}),
        ("a64fx", {"neon", "crc32", "atomics", "fp16", "sve"}),
    ],
)
def test_aarch64_features(cpu: str, expected: set[str], tmp_path: Path) -> None:
    assert report("aarch64", tmp_path, "qemu-aarch64", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu") == expected


@pytest.mark.skipif(shutil.which("qemu-arm") is None, reason="qemu-user is not installed")
@pytest.mark.parametrize(
    ("cpu", "expected"),
    [("cortex-a9", {"neon"}), ("cortex-a15", {"neon", "vfpv4"}), ("max", {"neon", "vfpv4", "crc32"})],
)
def test_arm_features(cpu: str, expected: set[str], tmp_path: Path) -> None:
    assert report("arm", tmp_path, "qemu-arm", "-cpu", cpu, "-L", "/usr/arm-linux-gnueabihf") == expected


@pytest.mark.parametrize("name", target_names())
def test_every_target_can_be_checked(name: str) -> None:
    target = load_target(name)
    assert set(cpu_bits(target)) == target.features


def test_unknown_feature_is_refused() -> None:
    target = changed_target("rpi5", features=frozenset({"neon", "dotprot"}))
    with pytest.raises(TargetError, match=r"(?s)'dotprot'.*'dotprod'"):
        cpu_bits(target)


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(TargetError, match="riscv64"):
        cpu_bits(changed_target("rpi5", link_triple="riscv64-linux-gnu"))
