"""The memory plan: where each arena buffer lies, so that buffers which live at different times share bytes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prunus.backends.plan.program import Arena, Buffer, Step, Storage
from prunus.backends.plan.views import covers

ALIGNMENT = 64


@dataclass(frozen=True)
class Life:
    """Bytes that are needed from step `first` to step `last`, both included, by buffers that take one place in turn."""

    buffers: tuple[Buffer, ...]
    size_bytes: int
    first: int
    last: int

    def meets(self, other: "Life") -> bool:
        """Tell whether both are alive at one step."""
        return self.first <= other.last and other.first <= self.last


def plan_memory(steps: Sequence[Step], kept: Iterable[Buffer], max_threads: int) -> Arena:
    """Place all arena buffers: the best of several greedy orders, each at the lowest offset that is free for its life.

    Args:
        steps: in the order in which they run.
        kept: arena buffers that are read after the last step.
        max_threads: threads that get scratch of their own.
    """
    lives = _share(steps, _lives(steps, set(kept)))
    bound = max((_alive(lives, index) for index in range(len(steps))), default=0)
    candidates = [_place(lives, order) for order in _ORDERS]
    offsets, size = min(candidates, key=lambda candidate: candidate[1], default=({}, 0))
    scratch = max((_align(step.scratch_bytes) for step in steps), default=0)
    return Arena(
        offsets={buffer: offset for life, offset in offsets.items() for buffer in life.buffers},
        scratch_offset=size,
        scratch_bytes=scratch,
        size_bytes=size + scratch * max_threads,
        bound_bytes=bound + scratch * max_threads,
    )


_ORDERS: list[Callable[[Life], tuple[int, ...]]] = [
    lambda life: (-life.size_bytes, life.first),
    lambda life: (-life.size_bytes * (life.last - life.first + 1), life.first),
    lambda life: (life.first - life.last, -life.size_bytes),
    lambda life: (life.first, -life.size_bytes),
    lambda life: (-life.last, -life.size_bytes),
]


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _lives(steps: Sequence[Step], kept: set[Buffer]) -> dict[Buffer, Life]:
    spans: dict[Buffer, tuple[int, int]] = {}
    for index, step in enumerate(steps):
        for view in step.arguments:
            if view.buffer.storage is Storage.ARENA:
                first, _ = spans.get(view.buffer, (index, index))
                spans[view.buffer] = (first, index)
    end = len(steps)
    return {
        buffer: Life((buffer,), _align(buffer.size_bytes), first, end if buffer in kept else last)
        for buffer, (first, last) in spans.items()
    }


def _share(steps: Sequence[Step], lives: dict[Buffer, Life]) -> list[Life]:
    """Let a result take over the memory of an operand that is read for the last time, element by element."""
    home = dict(lives)
    for index, step in enumerate(steps):
        if len(step.writes) != 1:
            continue
        output = step.arguments[step.writes[0]]
        written = home.get(output.buffer)
        if written is None or written.first != index or not covers(output):
            continue
        for position in step.shares:
            operand = step.arguments[position]
            source = home.get(operand.buffer)
            if (
                source is not None
                and source is not written
                and source.last == index
                and covers(operand)
                and operand.strides == output.strides
                and operand.shape == output.shape
                and operand.buffer.size_bytes == output.buffer.size_bytes
                and sum(view.buffer in source.buffers for view in step.arguments) == 1
            ):
                joined = Life((*source.buffers, *written.buffers), source.size_bytes, source.first, written.last)
                for buffer in joined.buffers:
                    home[buffer] = joined
                break
    return list(dict.fromkeys(home.values()))


def _alive(lives: Sequence[Life], step: int) -> int:
    return sum(life.size_bytes for life in lives if life.first <= step <= life.last)


def _place(lives: Sequence[Life], order: Callable[[Life], tuple[int, ...]]) -> tuple[dict[Life, int], int]:
    placed: dict[Life, int] = {}
    for life in sorted(lives, key=order):
        offset = 0
        for other, start in sorted(placed.items(), key=lambda item: item[1]):
            if life.meets(other):
                if offset + life.size_bytes <= start:
                    break
                offset = max(offset, start + other.size_bytes)
        placed[life] = offset
    size = max((offset + life.size_bytes for life, offset in placed.items()), default=0)
    return placed, size
