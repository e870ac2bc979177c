"""Graphs of the networks, folded."""

from collections.abc import Callable

import pytest
import torch

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, Graph, Pass, run_passes
from tests.networks.blocks import settle
from tests.passes.quantize.networks import Network, samples

Make = Callable[..., Graph]


@pytest.fixture
def folded() -> Make:
    """`folded(network, passes=DEFAULT)` is the graph of a network after passes."""

    def make(network: Network, passes: list[Pass] = DEFAULT) -> Graph:
        torch.manual_seed(0)
        module = settle(network.make()).eval()
        example = samples(network)[: network.shape[0]]
        return run_passes(import_torch(module, (example,)), passes, (example,))

    return make
