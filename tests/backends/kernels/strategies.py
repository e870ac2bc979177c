"""What hypothesis draws for kernels: shapes, layouts in memory, data without unlucky cancellation."""

import math

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.backends.kernels.harness import Layout

# Every example compiles a kernel. The same examples each time, so that a failure stays.
FEW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def shapes(rank: int, most: int = 40) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw shapes of 1 to `most`, small ones more often, of at most 20000 elements."""
    size = st.one_of(st.integers(1, 5), st.integers(1, most), st.sampled_from([7, 17, 31, 33, 37]))
    return st.tuples(*[size] * rank).filter(lambda shape: math.prod(shape) <= 20000)


def layouts(rank: int) -> st.SearchStrategy[Layout]:
    """Draw any order of the dimensions in memory, dense or as a slice of something larger."""
    return st.builds(Layout, st.permutations(range(rank)).map(tuple), st.sampled_from([0, 0, 1]))


def on_a_grid(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers rounded to sixteenths: differences are exact, so that small ones carry no error."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator) * 16).round() / 16
