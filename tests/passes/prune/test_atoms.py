"""The algebra of atoms."""

import numpy as np

from prunus.passes.prune.atoms import Atoms
from prunus.passes.reasons import Reason

WHY = Reason("node", "test")


def test_unify_is_transitive_and_symmetric() -> None:
    atoms = Atoms()
    first, second, third = atoms.fresh(7), atoms.fresh(7), atoms.fresh(7)
    atoms.unify(second, first)
    atoms.unify(third, second[::-1])
    classes = atoms.resolve()
    assert np.array_equal(classes.of(first), classes.of(second))
    assert np.array_equal(classes.of(third), classes.of(first)[::-1])
    assert len(classes) == 7


def test_many_wishes_for_one_root() -> None:
    """All of one array with a single atom, in both directions, in one call."""
    atoms = Atoms()
    many, few = atoms.fresh(5), atoms.fresh(2)
    atoms.unify(np.concatenate([many, few]), np.concatenate([np.repeat(few[:1], 5), many[:2]]))
    assert len(atoms.resolve()) == 1


def test_frozen_class_keeps_the_first_reason() -> None:
    atoms = Atoms()
    first, second = atoms.fresh(3), atoms.fresh(3)
    atoms.freeze(second[1:2], WHY)
    atoms.freeze(second[1:2], Reason("other", "later"))
    atoms.unify(first, second)
    classes = atoms.resolve()
    assert classes.frozen(classes.of(first)).tolist() == [False, True, False]
    assert classes.reason(int(classes.of(first)[1])) == WHY


def test_product_with_a_frozen_factor_is_the_other_factor() -> None:
    """A flattened channel: (3 channels, 4 places) with places that stay."""
    atoms = Atoms()
    channels, places = atoms.fresh(3), atoms.fresh(4)
    merged = atoms.merge((channels, places))
    atoms.freeze(places, WHY)
    classes = atoms.resolve()
    assert np.array_equal(classes.of(merged), np.repeat(classes.of(channels), 4))
    assert not classes.products


def test_frozen_element_holds_its_factors() -> None:
    atoms = Atoms()
    rows, columns = atoms.fresh(2), atoms.fresh(3)
    merged = atoms.merge((rows, columns))
    atoms.freeze(merged[[4]], WHY)
    classes = atoms.resolve()
    assert classes.frozen(classes.of(rows)).tolist() == [False, True]
    assert classes.frozen(classes.of(columns)).tolist() == [False, True, False]


def test_split_undoes_merge() -> None:
    atoms = Atoms()
    rows, columns = atoms.fresh(2), atoms.fresh(3)
    merged = atoms.merge((rows, atoms.fresh(1), columns))
    one, single, other = atoms.split(merged, (2, 1, 3))
    assert one is rows
    assert other is columns
    assert len(single) == 1
    assert atoms.merge((one, other)) is merged
    assert atoms.split(rows, (2, 1))[0] is rows
