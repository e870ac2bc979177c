"""Any number of samples on a library that was compiled for a fixed batch."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import prunus
from prunus.errors import InputError


class Two(nn.Module):
    """Two inputs, two outputs, one batch."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x + y, (x * y).sum(1)


@pytest.fixture(scope="module")
def artifact() -> prunus.Artifact:
    return prunus.compile(Two(), example_inputs=(torch.zeros(3, 5), torch.zeros(3, 5)), name="two")


@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number(artifact: prunus.Artifact, count: int) -> None:
    x, y = torch.randn(2, count, 5, generator=torch.Generator().manual_seed(count))
    total, product = artifact.run_samples(x, y)
    torch.testing.assert_close(total, x + y)
    torch.testing.assert_close(product, (x * y).sum(1))
    arrays = artifact.run_samples(x.numpy(), y.numpy())
    assert all(isinstance(array, np.ndarray) for array in arrays)
    assert np.array_equal(arrays[0], total.numpy())


@pytest.mark.parametrize("shapes", [((2, 5), (3, 5)), ((0, 5), (0, 5)), ((), ())])
def test_numbers_that_differ(artifact: prunus.Artifact, shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(InputError, match="as many samples in each"):
        artifact.run_samples(*map(torch.zeros, shapes))


def test_other_shapes_are_told_as_a_call_does(artifact: prunus.Artifact) -> None:
    with pytest.raises(InputError, match=r"of shape \(3, 4\)"):
        artifact.run_samples(torch.zeros(4, 4), torch.zeros(4, 5))


def test_a_model_without_a_batch() -> None:
    artifact = prunus.compile(Two(), example_inputs=(torch.zeros(2, 5), torch.zeros(1, 5)), name="two")
    with pytest.raises(InputError, match="a model without a batch"):
        artifact.run_samples(torch.zeros(2, 5), torch.zeros(2, 5))
