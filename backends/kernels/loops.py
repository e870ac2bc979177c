"""Loop nests over strided tensors: drop and join dimensions that every tensor walks through in step."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Nest:
    """Loop sizes from the outermost to the innermost, and the strides of each tensor over them."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


def collapse(sizes: Sequence[int], strides: Sequence[Sequence[int]], *, sort_by: int | None = None) -> Nest:
    """Return the smallest loop nest over the same elements.

    before:  for i in 4: for j in 6: for k in 5: y[30 i + 5 j + k] = x[30 i + 5 j + k]
    after:   for t in 120: y[t] = x[t]

    Args:
        sizes: loop sizes, outermost first.
        strides: strides of each tensor over the loops.
        sort_by: position of the tensor whose strides order the loops, largest outermost; None keeps the given order.
    """
    loops = [(size, tuple(tensor[dim] for tensor in strides)) for dim, size in enumerate(sizes) if size != 1]
    if sort_by is not None:
        loops.sort(key=lambda item: -item[1][sort_by])
    joined: list[tuple[int, tuple[int, ...]]] = []
    for size, steps in loops:
        if joined and all(outer == inner * size for outer, inner in zip(joined[-1][1], steps, strict=True)):
            joined[-1] = (joined[-1][0] * size, steps)
        else:
            joined.append((size, steps))
    return Nest(
        tuple(size for size, _ in joined),
        tuple(tuple(steps[tensor] for _, steps in joined) for tensor in range(len(strides))),
    )
