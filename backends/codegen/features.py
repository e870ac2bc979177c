"""Where a processor reports each feature that a target may name."""

from dataclasses import dataclass

from prunus.errors import TargetError, did_you_mean
from prunus.targets import Target

_EBX, _ECX = 1, 2
# Bits of XCR0: vector registers of 128 and 256 bits; with AVX-512 also its masks and the rest of its registers.
_AVX_STATE, _AVX512_STATE = 0x6, 0xE6
_HWCAP, _HWCAP2 = 16, 26


@dataclass(frozen=True)
class CpuBit:
    """One `prunus_cpu_bit` of `runtime/cpu.h`."""

    source: int
    word: int
    bit: int
    os_state: int = 0


# Intel's manual, volume 2A, CPUID; the kernel's headers asm/hwcap.h.
_BITS: dict[str, dict[str, CpuBit]] = {
    "x86_64": {
        "ssse3": CpuBit(1, _ECX, 9),
        "sse4.1": CpuBit(1, _ECX, 19),
        "sse4.2": CpuBit(1, _ECX, 20),
        "movbe": CpuBit(1, _ECX, 22),
        "popcnt": CpuBit(1, _ECX, 23),
        "lzcnt": CpuBit(0x80000001, _ECX, 5),
        "bmi": CpuBit(7, _EBX, 3),
        "bmi2": CpuBit(7, _EBX, 8),
        "fma": CpuBit(1, _ECX, 12, _AVX_STATE),
        "avx": CpuBit(1, _ECX, 28, _AVX_STATE),
        "f16c": CpuBit(1, _ECX, 29, _AVX_STATE),
        "avx2": CpuBit(7, _EBX, 5, _AVX_STATE),
        "avx512f": CpuBit(7, _EBX, 16, _AVX512_STATE),
        "avx512dq": CpuBit(7, _EBX, 17, _AVX512_STATE),
        "avx512cd": CpuBit(7, _EBX, 28, _AVX512_STATE),
        "avx512bw": CpuBit(7, _EBX, 30, _AVX512_STATE),
        "avx512vl": CpuBit(7, _EBX, 31, _AVX512_STATE),
        "avx512vnni": CpuBit(7, _ECX, 11, _AVX512_STATE),
    },
    "aarch64": {
        "neon": CpuBit(_HWCAP, 0, 1),
        "crc32": CpuBit(_HWCAP, 0, 7),
        "atomics": CpuBit(_HWCAP, 0, 8),
        "fp16": CpuBit(_HWCAP, 0, 10),
        "dotprod": CpuBit(_HWCAP, 0, 20),
        "sve": CpuBit(_HWCAP, 0, 22),
        "i8mm": CpuBit(_HWCAP2, 0, 13),
        "bf16": CpuBit(_HWCAP2, 0, 14),
    },
    "arm": {
        "neon": CpuBit(_HWCAP, 0, 12),
        "vfpv4": CpuBit(_HWCAP, 0, 16),
        # Only processors of ARMv8 report it, so it also stands for ARMv8's other instructions.
        "crc32": CpuBit(_HWCAP2, 0, 4),
    },
}


def cpu_bits(target: Target) -> dict[str, CpuBit]:
    """Return what the library must find before it runs, by feature, in the order of names.

    Raises:
        TargetError: the target names a feature, or is of an architecture, that nobody here knows how to check.
    """
    if target.architecture not in _BITS:
        raise TargetError(
            f"target {target.name!r} has the architecture {target.architecture!r}",
            do=did_you_mean(target.architecture, _BITS),
        )
    known = _BITS[target.architecture]
    for feature in sorted(target.features):
        if feature not in known:
            raise TargetError(
                f"target {target.name!r} names the unknown feature {feature!r}", do=did_you_mean(feature, known)
            )
    return {feature: known[feature] for feature in sorted(target.features)}
