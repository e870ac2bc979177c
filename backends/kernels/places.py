"""Extremes together with the places where they were found: the first of equal ones, as PyTorch has it."""

from collections.abc import Iterable, Sequence

import numpy as np

from prunus.backends.kernels.emit import Registers, Vector
from prunus.backends.kernels.rows import COMBINE, combination, fold, neutral, spread, tree
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import lane_dtype, part, splat
from prunus.targets import Target

_NOWHERE = np.iinfo(np.int32).max


class Places:
    """For each slot the extreme of every lane so far, and its position (int32)."""

    def __init__(self, operation: str, widths: Sequence[int], target: Target, dtype: str) -> None:
        self._largest = operation == "max"
        self._combine = combination(operation, dtype, target)
        self._widths = widths
        self._values = Registers(len(widths), widths, dtype)
        self._positions = Registers(len(widths), widths, "int32")
        for slot, lanes in enumerate(widths):
            self._values[slot] = splat(neutral(operation, dtype), dtype, lanes)
            self._positions[slot] = splat(0, "int32", lanes)

    def add(self, slot: int, value: Vector, position: Vector) -> None:
        """Offer a vector whose positions come after all that the slot has seen."""
        old = T.bind(self._values[slot])
        better = value > old if self._largest else value < old
        place = T.bind(T.Select(better, position, self._positions[slot]))
        self._values[slot] = T.Select(better, value, old)
        self._positions[slot] = place

    def merged(self, slots: Iterable[int]) -> Vector:
        """Return the positions (int64) of slots of one width, combined lane by lane."""
        slots = list(slots)
        best = tree(self._combine, [self._values[slot] for slot in slots])
        places = tree(COMBINE["min"], [self._places_of(best, slot) for slot in slots])
        return T.cast(places, lane_dtype("int64", self._widths[slots[0]]))

    def total(self) -> Vector:
        """Return the position (int64) of the extreme of all lanes of all slots."""
        best = fold([(self._values[slot], lanes) for slot, lanes in enumerate(self._widths)], self._combine, part)
        found = [(self._places_of(spread(best, lanes), slot), lanes) for slot, lanes in enumerate(self._widths)]
        return T.cast(fold(found, COMBINE["min"], part), "int64")

    def _places_of(self, best: Vector, slot: int) -> Vector:
        nowhere = splat(_NOWHERE, "int32", self._widths[slot])
        return T.bind(T.Select(self._values[slot] == best, self._positions[slot], nowhere))
