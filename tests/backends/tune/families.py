"""A family whose knobs do what they are called: right, slow, wrong, and all the ways of failing."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prunus.backends.kernels.emit import Memory, kernel, load, store
from prunus.backends.kernels.family import Defaults, Match
from prunus.backends.kernels.tir import T
from prunus.backends.plan.program import Buffer, Storage, View
from prunus.backends.plan.views import dense
from prunus.backends.tune.task import Task
from prunus.targets import Target, load_target

SIZE = 1000
NATIVE = load_target("native")
_FAR = 1 << 28
# Memory (the input or the output) and place that a way of failing writes to.
_PLACES = {"behind": (1, SIZE), "in front": (1, -16), "input": (0, 0), "far": (1, _FAR)}


@dataclass(frozen=True)
class Doubling:
    """Problem: y = 2 x."""

    size: int = SIZE


@dataclass(frozen=True)
class Knob:
    """How to compute, or to fail."""

    way: str
    repeats: int = 1


class Misbehaving(Defaults):
    """Computes y = 2 x, one element after the other, as its knob says."""

    name = "misbehaving"

    def __init__(self, *knobs: Knob) -> None:
        self._knobs = knobs or (Knob("right", 40),)

    def claims(self, anchor: Any) -> bool:
        return False

    def match(self, request: Any, target: Target) -> Any:
        raise AssertionError("it claims nothing")

    def knobs(self, problem: Doubling, target: Target) -> Sequence[Knob]:
        return self._knobs

    def units(self, problem: Doubling, knob: Knob) -> int:
        return 9

    def estimate(self, problem: Doubling, knob: Knob, target: Target) -> float:
        return 1.0

    def emit(self, problem: Doubling, knob: Knob, target: Target) -> Any:
        if knob.way == "raises":
            raise ValueError("no such tile")
        if knob.way == "aborts":
            os.abort()

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            x, y = memories
            factor = 3.0 if knob.way == "wrong" else 2.0
            with T.serial(begin, end) as unit:
                with T.serial(0, 1 << 30 if knob.way == "hangs" else knob.repeats), T.serial(0, problem.size) as i:
                    # What was there takes part, so that no repeat can be left out.
                    store(y, i, load(x, i) * T.float32(factor) + load(y, i) * T.float32(0))
                if knob.way in _PLACES:
                    memory, place = _PLACES[knob.way]
                    store((x, y)[memory], unit + place, T.float32(1))
                if knob.way == "reads":
                    store(y, unit, load(x, unit + _FAR))

        return kernel(target, ["float32", "float32"], body)

    def pack(self, problem: Any, knob: Any, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        return ()


def view(name: str) -> View:
    return dense(Buffer(name, Storage.ARENA, "float32", SIZE), (SIZE,))


def task(*knobs: Knob) -> Task:
    """Return a task whose first guess is right and slow, and whose candidates are `knobs`."""
    family = Misbehaving(Knob("right", 40), *knobs)
    return Task(family, Match(Doubling(), (view("x"),), (view("y"),)), NATIVE, "doubling", 1)
