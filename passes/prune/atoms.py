"""Which indices go together: the algebra behind structured pruning.

Every index of every dimension of every tensor is an *atom*. Rules of operators say of atoms that

- they are the same (`unify`): a channel of a sum is that channel of both addends;
- one is gone when any of several is (`split`, `merge`): channel `i * n + j` of `reshape(m * n)` belongs to row `i` and
  to column `j`, and goes with either; groups of convolutions and heads of attention have the same form;
- they cannot go (`freeze`), with the reason.

`resolve` draws the conclusions. What is left is a partition of the atoms into classes, and products of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

from prunus.passes.reasons import Reason

Labels = npt.NDArray[np.int64]
"""The atom of each index along one dimension, shape (size,)."""

Dims = tuple[Labels, ...]
"""One array of atoms for each dimension of a tensor."""

_NO_REASON = -1


@dataclass
class Product:
    """Atoms that go when any of their factors goes: `merged[i * n + j]` with `factors[0][i]` or `factors[1][j]`.

    Attributes:
        merged: one atom for each combination of indices, in row-major order.
        factors: atoms of each factor; the product of their sizes is the size of `merged`.
        settled: elements that `resolve` has reduced to one factor, or to none.
    """

    merged: Labels
    factors: tuple[Labels, ...]
    settled: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.settled = np.zeros(len(self.merged), dtype=bool)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(factor) for factor in self.factors)

    def spread(self, axis: int) -> Labels:
        """Return the atom of factor `axis` for each element of `merged`."""
        shape = [1] * len(self.factors)
        shape[axis] = len(self.factors[axis])
        return np.broadcast_to(self.factors[axis].reshape(shape), self.sizes).reshape(-1)


class Atoms:
    """A partition of atoms that grows coarser as rules speak (a union-find over numpy arrays)."""

    def __init__(self) -> None:
        self._parent = np.empty(0, dtype=np.int64)
        self._reason = np.empty(0, dtype=np.int64)
        self._count = 0
        self._reasons: list[Reason] = []
        self._inexact: list[tuple[Labels, Reason]] = []
        self._factors: dict[int, tuple[Labels, tuple[Labels, ...]]] = {}  # by identity of the merged array
        self.products: list[Product] = []

    def __len__(self) -> int:
        return self._count

    def fresh(self, size: int) -> Labels:
        """Return `size` new atoms."""
        first, self._count = self._count, self._count + size
        if self._count > len(self._parent):
            room = max(1024, 2 * self._count)
            old = self._parent
            self._parent = np.arange(room, dtype=np.int64)
            self._parent[: len(old)] = old
            self._reason = np.concatenate([self._reason, np.full(room - len(old), _NO_REASON, dtype=np.int64)])
        return np.arange(first, self._count, dtype=np.int64)

    def roots(self, labels: Labels) -> Labels:
        """Return the class of each atom: its smallest member."""
        found = self._parent[labels]
        while True:
            further = self._parent[found]
            if np.array_equal(further, found):
                self._parent[labels] = found
                return found
            found = further

    def unify(self, first: Labels, second: Labels) -> None:
        """Make atoms of equal places the same."""
        assert first.shape == second.shape, f"{len(first)} atoms cannot be the same as {len(second)}"
        if first is second:
            return
        while True:
            ours, theirs = self.roots(first), self.roots(second)
            apart = ours != theirs
            if not apart.any():
                return
            ours, theirs = ours[apart], theirs[apart]
            # The larger root points at the smaller, which leaves no cycles; of several wishes for one root one is
            # granted, and the next round sees to the others.
            self._parent[np.maximum(ours, theirs)] = np.minimum(ours, theirs)

    def freeze(self, labels: Labels, reason: Reason) -> None:
        """Forbid that these atoms go; the first reason stays."""
        new = labels[self._reason[labels] == _NO_REASON]
        self._reason[new] = len(self._reasons)
        self._reasons.append(reason)

    def mark_inexact(self, labels: Labels, reason: Reason) -> None:
        """Note that without these atoms the others change too, as statistics of a normalisation do."""
        self._inexact.append((labels, reason))

    def split(self, labels: Labels, sizes: Sequence[int]) -> tuple[Labels, ...]:
        """Return the atoms of each factor of a dimension that is read as `sizes`, row-major."""
        assert prod(sizes) == len(labels), f"{len(labels)} atoms do not split into {tuple(sizes)}"
        whole, known = self._factors.get(id(labels), (labels, ()))
        large = tuple(size for size in sizes if size > 1)
        if len(large) <= 1:
            parts: tuple[Labels, ...] = (labels,) if large else ()
        elif tuple(map(len, known)) == large:
            parts = known
        else:
            parts = tuple(self.fresh(size) for size in large)
            self._relate(whole, parts)
        rest = iter(parts)
        return tuple(next(rest) if size > 1 else self.fresh(1) for size in sizes)

    def merge(self, factors: Sequence[Labels]) -> Labels:
        """Return the atoms of a dimension that joins several, row-major."""
        large = tuple(factor for factor in factors if len(factor) > 1)
        if not large:
            return self.fresh(1)
        if len(large) == 1:
            return large[0]
        for whole, known in self._factors.values():
            if len(known) == len(large) and all(one is other for one, other in zip(known, large, strict=True)):
                return whole
        whole = self.fresh(prod(map(len, large)))
        self._relate(whole, large)
        return whole

    def _relate(self, merged: Labels, factors: tuple[Labels, ...]) -> None:
        self._factors.setdefault(id(merged), (merged, factors))
        self.products.append(Product(merged, factors))

    def resolve(self) -> "Classes":
        """Carry frozen atoms through the products until nothing changes; products of one free factor dissolve."""
        while True:
            frozen = self._frozen_by_root()
            changes = [self._settle(product, frozen) for product in self.products]
            if not any(changes):
                return Classes(self, frozen)

    def _settle(self, product: Product, frozen: Labels) -> bool:
        """Apply what is known of one product; tell whether anything new came out."""
        merged = self.roots(product.merged)
        reasons = frozen[merged].reshape(product.sizes)
        changed = False
        for axis, factor in enumerate(product.factors):
            others = tuple(other for other in range(len(product.factors)) if other != axis)
            held = reasons.max(axis=others)  # a factor stays where any of its elements must
            new = (held != _NO_REASON) & (frozen[self.roots(factor)] == _NO_REASON)
            if new.any():
                self._reason[factor[new]] = held[new]
                changed = True
        spread = np.stack([self.roots(product.spread(axis)) for axis in range(len(product.factors))])
        free = frozen[spread] == _NO_REASON
        counts = free.sum(axis=0)
        single, none = (counts == 1) & ~product.settled, (counts == 0) & ~product.settled
        if single.any():
            chosen = spread[free.argmax(axis=0)[single], single.nonzero()[0]]
            self.unify(product.merged[single], chosen)
        if none.any():
            held = frozen[spread].max(axis=0)
            self._reason[product.merged[none]] = held[none]
        product.settled |= single | none
        return changed or bool(single.any()) or bool(none.any())

    def _frozen_by_root(self) -> Labels:
        """Return the number of the reason of each class, at its root."""
        reasons = np.full(self._count, _NO_REASON, dtype=np.int64)
        held = (self._reason[: self._count] != _NO_REASON).nonzero()[0][::-1]
        reasons[self.roots(held)] = self._reason[held]
        return reasons


class Classes:
    """The finished partition: classes are numbered from 0."""

    def __init__(self, atoms: Atoms, frozen: Labels) -> None:
        roots, self._number = np.unique(atoms.roots(np.arange(len(atoms))), return_inverse=True)
        self._frozen, self._reasons, self._count = frozen[roots], atoms._reasons, len(roots)
        self.products = [product for product in atoms.products if not product.settled.all()]
        self._inexact: dict[int, Reason] = {}
        for labels, reason in atoms._inexact:
            for one in self.of(labels).tolist():
                self._inexact.setdefault(one, reason)

    def __len__(self) -> int:
        return self._count

    def of(self, labels: Labels) -> Labels:
        """Return the class of each atom."""
        return self._number[labels]

    def frozen(self, classes: Labels) -> npt.NDArray[np.bool_]:
        """Tell which classes cannot go."""
        held: npt.NDArray[np.bool_] = self._frozen[classes] != _NO_REASON
        return held

    def reason(self, one: int) -> Reason | None:
        """Return why a class cannot go, None if it can."""
        number = int(self._frozen[one])
        return None if number == _NO_REASON else self._reasons[number]

    def inexact(self, one: int) -> Reason | None:
        """Return why the rest of the graph computes something else without a class, None if it does not."""
        return self._inexact.get(one)
