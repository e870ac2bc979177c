"""The smallest cuts: which classes go when one goes, and which cuts are alike."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prunus.passes.prune.atoms import Classes, Labels, Product
from prunus.passes.prune.trace import Trace


@dataclass(frozen=True)
class Unit:
    """The smallest cut that holds one class.

    Attributes:
        classes: what goes together.
        counts: how many indices go along each axis (`Axes`), in order of the axes.
    """

    classes: frozenset[int]
    counts: tuple[tuple[int, int], ...]


class Axes:
    """Dimensions with the same classes in the same order are one axis: an entry here for all of them.

    Attributes:
        classes: for each axis the class of each index.
        places: for each axis the (node, result, dimension) that it stands for.
        of: the axis of each (node, result, dimension), nodes by name.
        holds: for each class the axes that it is on, with the number of its indices there.
    """

    def __init__(self, trace: Trace) -> None:
        self.classes: list[Labels] = []
        self.places: list[list[tuple[str, int, int]]] = []
        self.of: dict[tuple[str, int, int], int] = {}
        self.holds: dict[int, list[tuple[int, int]]] = defaultdict(list)
        known: dict[bytes, int] = {}
        for node, results in trace.dims.items():
            for result, dims in enumerate(results):
                for dim, labels in enumerate(dims):
                    axis = known.setdefault(labels.tobytes(), len(known))
                    if axis == len(self.classes):
                        self._add(axis, labels)
                    self.places[axis].append((node, result, dim))
                    self.of[node, result, dim] = axis

    def _add(self, axis: int, labels: Labels) -> None:
        self.classes.append(labels)
        self.places.append([])
        present, counts = np.unique(labels, return_counts=True)
        for one, count in zip(present.tolist(), counts.tolist(), strict=True):
            self.holds[one].append((axis, count))

    @cached_property
    def sizes(self) -> list[int]:
        return [len(labels) for labels in self.classes]

    def counts(self, classes: Iterable[int]) -> dict[int, int]:
        """Return how many indices along each axis belong to `classes`."""
        counts: dict[int, int] = defaultdict(int)
        for one in classes:
            for axis, count in self.holds[one]:
                counts[axis] += count
        return counts


class _Closure:
    """Finds what goes with a class, through the products."""

    def __init__(self, classes: Classes) -> None:
        self.products = classes.products
        self.merged = [classes.of(product.merged) for product in self.products]
        self.factors = [[classes.of(factor) for factor in product.factors] for product in self.products]
        self.as_factor: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.as_merged: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self.frozen = {
            one
            for number in range(len(self.products))
            for labels in (self.merged[number], *self.factors[number])
            for one in labels[classes.frozen(labels)].tolist()
        }
        for number, product in enumerate(self.products):
            for axis, labels in enumerate(self.factors[number]):
                for index, one in enumerate(labels.tolist()):
                    self.as_factor[one].append((number, axis, index))
            for element in (~product.settled).nonzero()[0].tolist():
                self.as_merged[int(self.merged[number][element])].append((number, element))

    def of(self, seed: int) -> frozenset[int] | None:
        """Return the classes that go with `seed`, None if one of them cannot.

        All elements of a factor go with it. An element that goes takes one of its factors along, unless one has gone
        already: the factor that costs the fewest further elements, of equal ones that of the most indices.
        """
        gone: set[int] = set()
        accounted: set[tuple[int, int]] = set()
        open_elements: list[tuple[int, int]] = []
        todo = [seed]
        while todo or open_elements:
            while todo:
                one = todo.pop()
                if one in gone:
                    continue
                if one in self.frozen:
                    return None
                gone.add(one)
                open_elements += self.as_merged.get(one, ())
                for number, axis, index in self.as_factor.get(one, ()):
                    elements = _elements(self.products[number], axis, index)
                    accounted.update((number, element) for element in elements.tolist())
                    todo += self.merged[number][elements].tolist()
            while open_elements and not todo:
                element = open_elements.pop()
                if element not in accounted:
                    todo.append(self._cheapest_factor(*element, gone))
        return frozenset(gone)

    def _cheapest_factor(self, number: int, element: int, gone: set[int]) -> int:
        product = self.products[number]
        best = None
        for axis, index in enumerate(np.unravel_index(element, product.sizes)):
            one = int(self.factors[number][axis][index])
            if one in self.frozen:
                continue
            slice_ = self.merged[number][_elements(product, axis, int(index))].tolist()
            price = (sum(other not in gone for other in slice_), -product.sizes[axis])
            if best is None or price < best[0]:
                best = (price, one)
        assert best is not None, "an element of a product that is not settled has a free factor"
        return best[1]


def _elements(product: Product, axis: int, index: int) -> Labels:
    """Return the places in `merged` of one index of a factor."""
    places = np.arange(len(product.merged)).reshape(product.sizes)
    elements: Labels = np.take(places, index, axis=axis).reshape(-1)
    return elements


def find_units(trace: Trace, axes: Axes) -> list[Unit]:
    """Return the different smallest cuts that touch a parameter and leave something on every axis.

    Elements of products are no seeds: what goes with one of them also goes with its factor.
    """
    closure = _Closure(trace.classes)
    parameters = {node.name for node in trace.graph.graph.nodes if node.op == "get_attr"}
    touching = {axis for axis, places in enumerate(axes.places) if any(name in parameters for name, _, _ in places)}
    # Groups of a convolution are factors of its channels, and no dimension of any tensor.
    candidates = np.unique(np.array([*axes.holds, *closure.as_factor], dtype=np.int64))
    found: dict[frozenset[int], Unit] = {}
    for seed in candidates[~trace.classes.frozen(candidates)].tolist():
        if seed in closure.as_merged:
            continue
        classes = closure.of(seed)
        if classes is None or classes in found:
            continue
        counts = axes.counts(classes)
        if touching.isdisjoint(counts) or any(count >= axes.sizes[axis] for axis, count in counts.items()):
            continue
        found[classes] = Unit(classes, tuple(sorted(counts.items())))
    return list(found.values())
