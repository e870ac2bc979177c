"""Groups of classic blocks, and what holds for every graph."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, Group, fuse, run_passes
from prunus.passes.fuse import ELEMENTWISE
from prunus.passes.graph import aten
from tests.networks.blocks import InvertedResidual, SqueezeExcite, settle
from tests.passes.groups import check_groups


def groups_of(module: nn.Module, *inputs: Tensor) -> list[Group]:
    graph = run_passes(import_torch(settle(module), inputs), DEFAULT, inputs)
    groups = fuse(graph)
    check_groups(graph, groups)
    return groups


def spelled(groups: list[Group]) -> list[str]:
    """Return the operators of each group, `conv2d relu`; views are left out."""
    shown = [group for group in groups if group.kind != "view"]
    return [" ".join(str(node.target).split(".")[1] for node in group.nodes) for group in shown]


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + x)


def test_residual_block() -> None:
    assert spelled(groups_of(Residual(7), torch.randn(1, 7, 9, 5))) == ["conv2d relu", "conv2d add relu"]


def test_projected_shortcut_joins_the_later_convolution() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.shortcut = nn.Conv2d(3, 7, 3, padding=1), nn.Conv2d(3, 7, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.main(x) + self.shortcut(x))

    groups = groups_of(Projected(), torch.randn(1, 3, 9, 5))
    assert spelled(groups) == ["conv2d", "conv2d add relu"]
    assert groups[1].nodes[0].name == "conv2d_1"


def test_inverted_residual() -> None:
    groups = groups_of(InvertedResidual(5, 5, 17), torch.randn(1, 5, 9, 9))
    assert spelled(groups) == ["conv2d clamp", "conv2d clamp", "conv2d add"]


def test_squeeze_and_excite() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), SqueezeExcite(8, 3, nn.ReLU, nn.Hardsigmoid))
    groups = groups_of(module, torch.randn(1, 3, 9, 9))
    assert spelled(groups) == ["conv2d", "mean", "conv2d relu", "conv2d hardsigmoid", "mul"]


@pytest.mark.parametrize("function", [lambda y: y * torch.sigmoid(2 * y), lambda y: y * F.relu(y + 3) + y.abs()])
def test_diamonds_join_the_convolution(function) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return function(self.conv(x))

    (group,) = groups_of(Net(), torch.randn(1, 3, 9, 5))
    assert group.anchor is group.nodes[0]


def test_activated_shortcut_is_computed_where_it_is_added() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + F.relu(x)

    assert spelled(groups_of(Net(), torch.randn(1, 3, 9, 5))) == ["conv2d relu add"]


def test_attention_block() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.inner = nn.LayerNorm(12), nn.MultiheadAttention(12, 3, batch_first=True)
            self.mlp = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 31), nn.GELU(), nn.Linear(31, 12))

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(x)
            x = x + self.inner(y, y, y, need_weights=False)[0]
            return x + self.mlp(x)

    assert spelled(groups_of(Attention(), torch.randn(1, 7, 12))) == [
        "layer_norm",
        "linear",
        "matmul mul",
        "softmax",
        "matmul",
        "linear add",
        "layer_norm",
        "linear gelu",
        "linear add",
    ]


def test_uneven_padding_belongs_to_its_convolution() -> None:
    module = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    (group,) = groups_of(module, torch.randn(1, 3, 8, 8))
    assert [str(node.target).split(".")[1] for node in group.nodes] == ["constant_pad_nd", "conv2d", "relu"]
    assert group.anchor is group.nodes[1]


def test_kinds() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, ::2], x.relu()], 1)

    assert [group.kind for group in groups_of(Net(), torch.randn(1, 4, 3))] == ["view", "compute", "cat"]


def test_outputs_stay_outputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.conv(x)
            return y, F.relu(y)

    assert spelled(groups_of(Net(), torch.randn(1, 3, 9, 5))) == ["conv2d", "relu"]


def test_several_results_are_one_group() -> None:
    (*_, group) = (group for group in groups_of(nn.GRU(3, 5), torch.randn(4, 2, 3)) if len(group.nodes) > 1)
    assert {str(node.target) for node in group.nodes} >= {"prunus.gru_layer.default", "<built-in function getitem>"}
    assert group.output is group.anchor


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs(seed: int) -> None:
    """Random calls with random readers: a failure is repeated by its seed."""
    choose = random.Random(seed)
    graph = torch.fx.Graph()
    wide, narrow = torch.empty(2, 4, 5, 5, device="meta"), torch.empty(2, 4, 1, 1, device="meta")
    values: list[torch.fx.Node] = []
    for described in (wide, wide, narrow):
        node = graph.placeholder(f"x{len(values)}")
        node.meta["val"] = described
        values.append(node)
    weight = graph.placeholder("weight")
    weight.meta["val"] = torch.empty(4, 4, 1, 1, device="meta")
    for _ in range(40):
        target = choose.choice(
            [aten.relu.default, aten.add.Tensor, aten.mul.Tensor, aten.conv2d.default, aten.mean.dim]
        )
        picked = [choose.choice(values[-8:]) for _ in range(2)]
        rest = {aten.conv2d.default: (weight,), aten.mean.dim: ([2, 3], True)}
        args = (picked[0], *rest.get(target, picked[1:] if target is not aten.relu.default else ()))
        node = graph.call_function(target, args)
        node.meta["val"] = target(*torch.fx.map_arg(args, lambda source: source.meta["val"]))
        values.append(node)
    graph.output(tuple(choose.sample(values, 3)))
    module = torch.fx.GraphModule(nn.Module(), graph)
    groups = fuse(module)
    check_groups(module, groups)
    joined = [group for group in groups if len(group.nodes) > 1]
    assert joined, "a graph of forty calls has something to join"
    assert all(
        set(group.nodes) - {group.anchor} <= {n for n in group.nodes if n.target in ELEMENTWISE} for group in joined
    )


def test_what_an_anchor_reads_is_computed_before() -> None:
    class Square(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) @ x

    graph = import_torch(Square(), (torch.randn(7, 7),))
    assert [group.operators for group in fuse(graph)] == [("relu",), ("matmul",)]
