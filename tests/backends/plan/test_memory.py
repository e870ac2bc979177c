"""The memory plan: nothing that lives at once overlaps."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.plan.memory import ALIGNMENT, plan_memory
from prunus.backends.plan.program import Arena, Buffer, KernelSpec, Step, Storage
from prunus.backends.plan.views import dense

SPEC = KernelSpec("test", (), ())


def buffer(name: str, size: int) -> Buffer:
    return Buffer(name, Storage.ARENA, "float32", size)


def step(reads: list[Buffer], writes: list[Buffer], *, shares: tuple[int, ...] = (), scratch_bytes: int = 0) -> Step:
    views = [dense(item, (item.size,)) for item in (*reads, *writes)]
    positions = tuple(range(len(reads), len(views)))
    return Step(SPEC, tuple(views), positions, 1, scratch_bytes, shares)


def alive(steps: list[Step]) -> dict[Buffer, range]:
    spans: dict[Buffer, list[int]] = {}
    for index, one in enumerate(steps):
        for view in one.arguments:
            spans.setdefault(view.buffer, []).append(index)
    return {item: range(min(times), max(times) + 1) for item, times in spans.items()}


def check(steps: list[Step], arena: Arena, shared: set[frozenset[Buffer]] = frozenset()) -> None:  # type: ignore[assignment]
    spans = alive(steps)
    assert set(arena.offsets) == set(spans)
    assert arena.bound_bytes <= arena.size_bytes
    for item, offset in arena.offsets.items():
        assert offset % ALIGNMENT == 0
        assert offset + item.size_bytes <= arena.scratch_offset
    for one, other in itertools.combinations(spans, 2):
        if frozenset((one, other)) in shared or not set(spans[one]) & set(spans[other]):
            continue
        first, second = sorted((one, other), key=lambda item: arena.offsets[item])
        assert arena.offsets[first] + first.size_bytes <= arena.offsets[second], (one, other)


@st.composite
def programs(draw: st.DrawFn) -> list[Step]:
    made: list[Buffer] = []
    steps = []
    for index in range(draw(st.integers(1, 12))):
        reads = draw(st.lists(st.sampled_from(made), max_size=3, unique=True)) if made else []
        written = buffer(f"b{index}", draw(st.integers(1, 200)))
        made.append(written)
        steps.append(step(reads, [written], scratch_bytes=draw(st.sampled_from([0, 0, 100]))))
    return steps


@given(programs(), st.integers(1, 4))
def test_random_programs(steps: list[Step], threads: int) -> None:
    arena = plan_memory(steps, (), threads)
    check(steps, arena)
    scratch = max(-(-one.scratch_bytes // ALIGNMENT) * ALIGNMENT for one in steps)
    assert arena.size_bytes == arena.scratch_offset + scratch * threads


def test_a_chain_takes_two_buffers() -> None:
    chain = [buffer(f"b{index}", 64) for index in range(6)]
    steps = [step(chain[i : i + 1], chain[i + 1 : i + 2]) for i in range(5)]
    arena = plan_memory(steps, (), 1)
    assert arena.size_bytes == arena.bound_bytes == 2 * 256


def test_results_take_over_operands() -> None:
    a, b, c = (buffer(name, 64) for name in "abc")
    steps = [step([], [a]), step([a], [b], shares=(0,)), step([b], [c], shares=(0,))]
    arena = plan_memory(steps, (), 1)
    assert len(set(arena.offsets.values())) == 1
    assert arena.size_bytes == 256


def test_operands_that_are_read_again_stay() -> None:
    a, b, c = (buffer(name, 64) for name in "abc")
    steps = [step([], [a]), step([a], [b], shares=(0,)), step([a, b], [c])]
    check(steps, plan_memory(steps, (), 1))


def test_kept_buffers_live_to_the_end() -> None:
    a, b, c = (buffer(name, 64) for name in "abc")
    steps = [step([], [a]), step([], [b]), step([b], [c])]
    arena = plan_memory(steps, [a], 1)
    assert arena.offsets[a] not in (arena.offsets[b], arena.offsets[c])
