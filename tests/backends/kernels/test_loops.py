"""Joined loops walk over the same elements."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.kernels.loops import collapse
from prunus.backends.plan.layout import contiguous


def walked(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> set[tuple[int, ...]]:
    """Return the offsets of all tensors at every step."""
    steps = itertools.product(*(range(size) for size in sizes))
    return {
        tuple(sum(index * stride for index, stride in zip(indices, tensor, strict=True)) for tensor in strides)
        for indices in steps
    }


def test_dense_tensors_are_one_loop() -> None:
    nest = collapse((4, 6, 5), [contiguous((4, 6, 5))] * 2)
    assert (nest.sizes, nest.strides) == ((120,), ((1,), (1,)))


def test_broadcasting_keeps_its_dimension() -> None:
    nest = collapse((4, 6, 5), [(30, 5, 1), (0, 5, 1)])
    assert (nest.sizes, nest.strides) == ((4, 30), ((30, 1), (0, 1)))


def test_order_follows_a_tensor() -> None:
    nest = collapse((2, 3, 5), [contiguous((2, 3, 5), (0, 2, 1))], sort_by=0)
    assert (nest.sizes, nest.strides) == ((30,), ((1,),))


@given(st.data())
def test_same_elements(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), max_size=4))
    orders = [data.draw(st.permutations(range(len(sizes)))) for _ in range(2)]
    strides = [contiguous(sizes, tuple(order)) for order in orders]
    repeated = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    strides.append(tuple(0 if zero else step for zero, step in zip(repeated, strides[0], strict=True)))
    nest = collapse(sizes, strides, sort_by=data.draw(st.sampled_from([None, 0, 1])))
    assert walked(nest.sizes, nest.strides) == walked(sizes, strides)
    assert 1 not in nest.sizes
