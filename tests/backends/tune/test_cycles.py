"""Small loops of AArch64 instructions, held to the throughputs of Arm's optimization guides and of the A53's pipes."""

import pytest

from prunus.backends.tune.aarch64 import Unit, uses
from prunus.backends.tune.cycles import block_cycles, core_of, total_cycles
from prunus.targets import load_target

CORES = {name: core_of(load_target(name)) for name in ("rpi3", "rpi4", "rpi5")}


def fmla(target: int) -> int:
    return 0x4E22CC20 | target  # fmla vT.4s, v1.4s, v2.4s


def by_element(target: int) -> int:
    return 0x4F821020 | target  # fmla vT.4s, v1.4s, v2.s[0]


FMLA = [fmla(target) for target in range(8, 16)]
LDR_Q, LDR_D, LDP_Q, STR_Q = 0x3DC00000, 0xFD400000, 0xAD400400, 0x3D800000
LDR_X, ADD_X, LD1R = 0xF9400020, 0x91000400, 0x4D40C800
SMULL, SMLAL, SADALP, SDOT = 0x0E62C020, 0x0E628020, 0x4E606820, 0x4E829420

# Instructions, and cycles on Cortex-A53, A72 and A76.
LOOPS: dict[str, tuple[list[int], tuple[float, float, float]]] = {
    "independent sums": (FMLA, (8, 8, 4)),
    "by element": ([by_element(target) for target in range(16)], (16, 16, 8)),
    "one sum": ([fmla(8)] * 8, (32, 24, 16)),
    "smull": ([SMULL] * 8, (8, 8, 8)),
    "smlal": ([SMLAL | target for target in range(8)], (8, 8, 8)),
    "sadalp": ([SADALP | target for target in range(8)], (8, 8, 8)),
    "products and pairwise sums": (
        [word for target in range(8) for word in (SMULL | 20, SMLAL | 20, SADALP | target)],
        (24, 16, 16),
    ),
    "sdot": ([SDOT | target for target in range(16)], (16, 16, 8)),
    "loads of 128 bits": ([LDR_Q] * 8, (16, 8, 4)),
    "loads of 64 bits": ([LDR_D] * 8, (8, 4, 4)),
    "pairs": ([LDP_Q] * 4, (16, 8, 4)),
    "stores": ([STR_Q] * 4, (4, 8, 4)),
    "sums and loads": ([*FMLA, LDR_Q, LDR_Q], (12, 8, 4)),
    "sums and scalars": ([*FMLA, *[LDR_X] * 4, ADD_X, ADD_X], (8, 8, 4)),
    "integers": ([ADD_X] * 12, (6, 4, 3)),
}


@pytest.mark.parametrize(("words", "expected"), LOOPS.values(), ids=LOOPS)
def test_loops(words: list[int], expected: tuple[float, float, float]) -> None:
    found = tuple(block_cycles(words, core) for core in CORES.values())
    assert found == pytest.approx(expected, rel=0.21)


@pytest.mark.parametrize(
    ("word", "units"),
    [
        (LD1R, [Unit.VECTOR_LOAD, Unit.VECTOR]),
        (0x4C407800, [Unit.VECTOR_LOAD]),  # ld1 {v0.4s}, [x0]
        (0xF9000020, [Unit.STORE]),  # str x0, [x1]
        (0xA9400440, [Unit.LOAD]),  # ldp x0, x1, [x2]
        (0x4E040C20, [Unit.VECTOR]),  # dup v0.4s, w1
        (0x4F000400, [Unit.VECTOR]),  # movi v0.4s, #0
        (0x1E220820, [Unit.FLOAT]),  # fmul s0, s1, s2
        (0x4E21D820, [Unit.FLOAT]),  # scvtf v0.4s, v1.4s
        (0x54000001, [Unit.OTHER]),  # b.ne
        (0xD65F03C0, [Unit.OTHER]),  # ret
    ],
    ids=str,
)
def test_units(word: int, units: list[Unit]) -> None:
    assert [use.unit for use in uses(word)] == units


def test_counts_multiply() -> None:
    code = b"".join(word.to_bytes(4, "little") for word in FMLA).hex()
    assert total_cycles([f"100 {code}", f"20 {code}"], CORES["rpi4"]) == pytest.approx(120 * 8)
