"""What becomes int8, with how many bits, and why the rest does not."""

import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, run_passes
from prunus.passes.quantize import annotate
from prunus.targets import load_target
from tests.passes.quantize.networks import BY_NAME


def test_keep_names_layers_by_parameter_or_node(folded) -> None:
    graph = folded(BY_NAME["chain"])
    for pattern in ("2.*", "conv2d_1"):
        plan = annotate(graph, load_target("rpi4"), keep=[pattern])
        assert [node.name for node in plan.weight_bits] == ["conv2d", "conv2d_2"]
        assert {node.name: reason for node, reason in plan.floats.items()} == {"conv2d_1": f"keep={pattern!r}"}


def test_reasons() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    x = torch.randn(1, 3, 4, 4)
    plan = annotate(run_passes(import_torch(module, (x,)), DEFAULT, (x,)), load_target("rpi4"))
    assert list(plan.floats.values()) == ["transposed convolutions have no integer kernel"]
    assert [node.name for node in plan.values] == ["relu"]


def test_a_residual_stream_of_real_numbers_stays(folded) -> None:
    """Layer norm and softmax have no integer form, so nothing that leads to them is rounded for its own sake."""
    plan = annotate(folded(BY_NAME["attention"]), load_target("rpi4"))
    assert [node.name for node in plan.values] == ["x"] or len(plan.values) == 1


def test_views_and_pools_are_tied_to_their_input(folded) -> None:
    plan = annotate(folded(BY_NAME["pools"]), load_target("rpi4"))
    groups = sorted(sorted(node.name for node in group) for group in plan.tied)
    assert ["max_pool2d", "relu"] in groups


class Gated(nn.Module):
    """A layer's result times another's, or times numbers that have no integer form."""

    def __init__(self, *, integer: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        self.integer = integer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.second(x) if self.integer else x.mean((2, 3), keepdim=True).softmax(1)[:, :1]
        return self.last(self.first(x) * gate)


def test_a_product_with_floats_is_one_of_floats() -> None:
    x = torch.randn(1, 3, 4, 4)
    for integer in (True, False):
        graph = run_passes(import_torch(Gated(integer=integer).eval(), (x,)), DEFAULT, (x,))
        plan = annotate(graph, load_target("rpi4"))
        assert ("mul" in {node.name for node in plan.kinds}) is integer
