"""The shared decomposition against numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.passes.low_rank.algebra import spectrum


@settings(max_examples=40, deadline=None)
@given(outputs=st.integers(1, 17), inputs=st.integers(1, 17), rank=st.integers(1, 17), seed=st.integers(0, 99))
def test_without_inputs_it_is_the_svd(outputs: int, inputs: int, rank: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(outputs, inputs))
    found = spectrum(torch.from_numpy(matrix))
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    rank = min(rank, len(singular))
    np.testing.assert_allclose(found.energies, singular**2, atol=1e-9)
    best = left[:, :rank] * singular[:rank] @ right[:rank]
    np.testing.assert_allclose(found.left[:, :rank] @ found.right[:rank], best, atol=1e-6)
    assert found.error(rank) == pytest.approx((singular[rank:] ** 2).sum() / (singular**2).sum(), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(outputs=st.integers(2, 13), inputs=st.integers(2, 13), rows=st.integers(14, 40), seed=st.integers(0, 99))
def test_with_inputs_no_other_matrix_of_the_rank_loses_less(outputs: int, inputs: int, rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix, seen = generator.normal(size=(outputs, inputs)), generator.normal(size=(rows, inputs))
    seen *= generator.uniform(0.01, 3, size=inputs)  # some inputs matter more
    found = spectrum(torch.from_numpy(matrix), torch.from_numpy(seen))
    results = seen @ matrix.T
    singular = np.linalg.svd(results, compute_uv=False)
    for rank in range(1, min(outputs, inputs)):
        product = (found.left[:, :rank] @ found.right[:rank]).numpy()
        lost = ((results - seen @ product.T) ** 2).sum()
        # Eckart and Young: no matrix of this rank at all is nearer to the outputs.
        assert lost == pytest.approx((singular[rank:] ** 2).sum(), rel=1e-6, abs=1e-9)
        assert found.error(rank) == pytest.approx(lost / (results**2).sum(), rel=1e-6, abs=1e-9)


def test_rank_for_an_error() -> None:
    found = spectrum(torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0])))
    assert [found.rank_for(error) for error in (0.0, 0.07, 1 / 14 + 1e-9, 0.4, 0.99)] == [3, 3, 2, 1, 1]


def test_a_matrix_of_zeros() -> None:
    found = spectrum(torch.zeros(3, 5))
    assert (found.rank_for(0.0), found.error(1)) == (1, 0.0)
