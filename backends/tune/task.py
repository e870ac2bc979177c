"""What is tuned: one kernel of a program, with everything that a trial needs of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from prunus.backends.kernels.family import Family, Match
from prunus.backends.plan.knobs import Choice, KnobChooser
from prunus.backends.plan.planner import plan
from prunus.backends.plan.program import KernelSpec, Program, View
from prunus.backends.tune.trial import Argument
from prunus.passes.graph import Graph
from prunus.targets import Target

# Integers may be places in a table.
_LARGEST_INTEGER = 16


@dataclass(frozen=True, eq=False)
class Task:
    """One kernel.

    Attributes:
        family, match, target: what it computes.
        layer: the operators of the first step that it serves, for readers.
        uses: steps that it serves.
    """

    family: Family
    match: Match
    target: Target
    layer: str
    uses: int

    @property
    def problem(self) -> Any:
        return self.match.problem

    def spec(self, knob: Any) -> KernelSpec:
        return KernelSpec(self.family.name, self.problem, knob)

    def units(self, knob: Any) -> int:
        return self.family.units(self.problem, knob)

    @cached_property
    def candidates(self) -> tuple[Any, ...]:
        """Legal knobs, the first guess first, then by estimate.

        Trials use one thread: knobs that leave less than the first guess to share among threads are left out.
        """
        knobs = list(dict.fromkeys(self.family.knobs(self.problem, self.target)))
        enough = min(self.units(knobs[0]), 4 * self.target.cores)
        others = [knob for knob in knobs[1:] if self.units(knob) >= enough]
        others.sort(key=lambda knob: self.family.estimate(self.problem, knob, self.target))
        return (knobs[0], *others)

    def arguments(self, knob: Any) -> list[Argument]:
        """Return the kernel's arguments in order, with random numbers in them, the same for every knob."""
        packed = self.family.pack(self.problem, knob, self.match.tensors)
        scratch = self.family.scratch_bytes(self.problem, knob)
        return [
            *(Argument("r", _bytes(view, seed)) for seed, view in enumerate(self.match.reads)),
            *(Argument("c", np.ascontiguousarray(array).tobytes()) for array in packed),
            *(Argument("r", _bytes(view, 100 + seed)) for seed, view in enumerate(self.match.operands)),
            *(Argument("w", _bytes(view, 200 + seed)) for seed, view in enumerate(self.match.outputs)),
            *([Argument("s", b"", scratch)] if scratch else []),
        ]

    def results(self, data: bytes) -> list[np.ndarray]:
        """Return the memory of the outputs as a trial leaves it, gaps between elements included."""
        arrays, start = [], 0
        for view in self.match.outputs:
            size = _extent(view) * np.dtype(view.buffer.dtype).itemsize
            arrays.append(np.frombuffer(data[start : start + size], view.buffer.dtype))
            start += size
        return arrays


def tasks_of(graph: Graph, target: Target, knobs: KnobChooser) -> tuple[Program, list[Task]]:
    """Return the program that `knobs` makes of a graph, and its distinct kernels in the order of their first use."""
    matches: dict[tuple[str, Any], tuple[Family, Match]] = {}

    def choose(family: Family, match: Match, target: Target) -> Choice:
        matches.setdefault((family.name, match.problem), (family, match))
        return knobs(family, match, target)

    program = plan(graph, name="tuned", target=target, knobs=choose)
    steps: dict[tuple[str, Any], list[Any]] = {}
    for step in program.steps:
        steps.setdefault((step.kernel.family, step.kernel.problem), []).append(step)
    return program, [
        Task(*matches[key], target, " + ".join(served[0].operators) or "copy", len(served))
        for key, served in steps.items()
    ]


def _extent(view: View) -> int:
    """Return how many elements lie between the first and the last of a view."""
    return 1 + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))


def _bytes(view: View, seed: int) -> bytes:
    return random_numbers(_extent(view), view.buffer.dtype, seed).tobytes()


def random_numbers(count: int, dtype: str, seed: int) -> np.ndarray:
    """Return normally distributed floats, bytes of all values, truth values, or small integers: always the same."""
    kind = np.dtype(dtype)
    generator = np.random.default_rng(seed)
    if kind.kind == "f":
        numbers: np.ndarray = generator.standard_normal(count, np.float32)
    elif kind.itemsize == 1 and kind.kind != "b":
        numbers = generator.integers(0, 256, count, np.uint8).view(kind)
    else:
        numbers = generator.integers(0, 2 if kind.kind == "b" else _LARGEST_INTEGER, count)
    return numbers.astype(kind)


def same_results(found: Sequence[np.ndarray], truth: Sequence[np.ndarray], tolerance: float) -> bool:
    """Tell whether integers are equal and floats within `tolerance` of the largest finite one."""
    return all(_same(mine, other, tolerance) for mine, other in zip(found, truth, strict=True))


def _same(found: np.ndarray, truth: np.ndarray, tolerance: float) -> bool:
    if truth.dtype.kind != "f":
        return bool(np.array_equal(found, truth))
    finite = np.isfinite(truth)
    if not np.array_equal(found[~finite], truth[~finite], equal_nan=True):
        return False
    scale = max(float(np.abs(truth[finite]).max(initial=0.0)), math.ulp(1.0))
    return bool(np.abs(found[finite] - truth[finite]).max(initial=0.0) <= tolerance * scale)
