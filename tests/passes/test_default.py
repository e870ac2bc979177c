"""The default chain on the classic families."""

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import CANONICAL, DEFAULT, FOLD, fuse, left_over, run_passes, show
from prunus.passes.graph import aten, calls
from prunus.passes.run import pass_name
from tests.comparison import assert_close
from tests.networks import FAMILIES
from tests.networks.blocks import settle
from tests.passes.groups import check_groups

VIEWS = {aten.view.default, aten.flatten.using_ints, aten.transpose.int, aten.t.default, aten.unsqueeze.default}


def test_the_chain_reads_like_a_table_of_contents() -> None:
    assert [pass_name(one_pass) for one_pass in DEFAULT][:5] == [
        "decompose",
        "merge_duplicates",
        "fold_qdq",
        "merge_linear",
        "fold_constants",
    ]
    assert [*CANONICAL, *FOLD] == DEFAULT
    assert all(one_pass.__doc__ and "before:" in one_pass.__doc__ for one_pass in DEFAULT)


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    """Numbers stay, every operator is one that the backend keeps, and a second run finds nothing to do."""
    torch.manual_seed(0)
    module, inputs = FAMILIES[name]()
    graph = run_passes(import_torch(module, inputs), DEFAULT, inputs)
    assert_close(module, inputs, graph(*inputs))
    assert not left_over(graph)
    assert not {node.target for node in calls(graph)} & VIEWS
    assert not list(calls(graph, aten.batch_norm.default, aten.dropout.default))
    check_groups(graph, fuse(graph))
    assert show(run_passes(graph, DEFAULT, inputs)) == show(graph)


@pytest.mark.parametrize("name", ["mobilenet-v3", "text", "gru"])
def test_canonical_graphs_can_be_trained(name: str) -> None:
    module, inputs = FAMILIES[name]()
    graph = run_passes(import_torch(module, inputs), CANONICAL, inputs)
    graph(*inputs)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())
    assert sum(p.numel() for p in graph.parameters()) == sum(p.numel() for p in module.parameters())


class ChannelsLast(nn.Module):
    """Normalises features where other frameworks keep them, last, between convolutions whose weights are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 5, 3))
        self.mean, self.scale = (nn.Parameter(torch.rand(5) + 0.5) for _ in range(2))
        self.last = nn.utils.parametrizations.weight_norm(nn.Conv2d(5, 4, 1))
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (self.first(x).permute(0, 2, 3, 1) - self.mean) * self.scale
        return self.norm(self.last(y.permute(0, 3, 1, 2).relu()))


def test_constants_that_are_computed_fold_into_layers() -> None:
    module, inputs = settle(ChannelsLast()), (torch.randn(1, 3, 7, 6),)
    graph = run_passes(import_torch(module, inputs), DEFAULT, inputs)
    assert_close(module, inputs, graph(*inputs))
    assert [node.target for node in calls(graph)] == [aten.conv2d.default, aten.relu.default, aten.conv2d.default]
