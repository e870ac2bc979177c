"""Measures against what they are defined to be."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunus.frontend import import_model
from prunus.passes.canonical import canonical
from prunus.passes.prune import MEASURES, Scene, trace
from prunus.passes.prune.groups import Group, find_groups
from prunus.passes.prune.importance import importances
from prunus.passes.prune.scene import output_change
from prunus.passes.prune.units import Axes


def scene_of(module: nn.Module, *batches: Tensor) -> tuple[Scene, list[Group]]:
    whole = trace(canonical(import_model(module.eval(), example_inputs=(batches[0],))))
    return Scene(whole, [(batch,) for batch in batches]), find_groups(whole, Axes(whole))


def test_taylor_is_the_change_of_a_linear_loss() -> None:
    """Where a layer reads a channel linearly, first order is exact: root mean square over samples."""
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Conv2d(3, 5, 3), nn.SiLU(), nn.Conv2d(5, 4, 1))
    batches = [torch.randn(2, 3, 6, 5) for _ in range(3)]
    scene, groups = scene_of(net, *batches)
    (found,) = importances(scene, groups, "taylor")
    squares = torch.zeros(5)
    with torch.no_grad():
        for number, batch in enumerate(batches):
            hidden = net[1](net[0](batch))
            direction = torch.randn(2, 4, 4, 3, generator=torch.Generator().manual_seed(number))
            for channel in range(5):
                only = torch.zeros_like(hidden)
                only[:, channel] = hidden[:, channel]
                change = (nn.functional.conv2d(only, net[2].weight) * direction).flatten(1).sum(dim=1)
                squares[channel] += change.square().sum()
    torch.testing.assert_close(torch.from_numpy(found).float(), (squares / 6).sqrt(), rtol=1e-4, atol=1e-6)


def test_norms_are_of_filters() -> None:
    net: Any = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.Conv2d(5, 4, 1))
    scene, groups = scene_of(net, torch.randn(1, 3, 6, 5))
    for order, name in ((1, "l1"), (2, "l2")):
        (found,) = importances(scene, groups, name)
        norms = net[0].weight.detach().flatten(1).norm(order, dim=1)
        torch.testing.assert_close(torch.from_numpy(found).float(), norms / norms.mean())


def test_batch_norm_scale_and_what_stands_in_for_it() -> None:
    net: Any = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.Conv2d(5, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([1.0, -3, 2, 0, 4]))
    scene, groups = scene_of(net, torch.randn(1, 3, 6, 5))
    scales, norms = importances(scene, groups, "batch_norm")
    torch.testing.assert_close(torch.from_numpy(scales), torch.tensor([1, 3, 2, 0, 4]).double() / 2)
    assert (norms > 0).all()


def test_geometric_median_prefers_what_others_can_replace() -> None:
    net: Any = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(4, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0], [1, 0.1], [0.9, 0], [-5, 2]]))
    scene, groups = scene_of(net, torch.randn(1, 2))
    (found,) = importances(scene, groups, "geometric_median")
    assert found.argmax() == 3


def test_activation_is_the_mean_magnitude() -> None:
    net: Any = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU(), nn.Conv1d(5, 4, 1))
    x = torch.randn(2, 3, 9)
    scene, groups = scene_of(net, x)
    (found,) = importances(scene, groups, "activation")
    means = net[1](net[0](x)).detach().mean(dim=(0, 2))
    torch.testing.assert_close(torch.from_numpy(found).float(), means / means.mean())


def test_random_is_the_same_for_a_seed() -> None:
    net: Any = nn.Sequential(nn.Linear(2, 7), nn.Linear(7, 1))
    scene, groups = scene_of(net, torch.randn(1, 2))
    first, again = importances(scene, groups, "random")[0], importances(scene, groups, "random")[0]
    other = importances(Scene(scene.trace, seed=1), groups, "random")[0]
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", MEASURES)
def test_frozen_parameters_and_graph_stay_as_they_are(name: str) -> None:
    net: Any = nn.Sequential(nn.Linear(2, 7), nn.GRU(7, 5, batch_first=True)).eval()

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = net, nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.net(x)[0])

    module = Last()
    module.head.weight.requires_grad_(False)
    scene, groups = scene_of(module, torch.randn(2, 3, 2))
    wanted = {key: one.requires_grad for key, one in scene.trace.graph.named_parameters()}
    assert all((numbers >= 0).all() for numbers in importances(scene, groups, name))
    assert {key: one.requires_grad for key, one in scene.trace.graph.named_parameters()} == wanted
    assert all(one.grad is None for one in scene.trace.graph.parameters())


def test_output_change_leaves_out_integers() -> None:
    assert output_change([torch.tensor([1, 2]), torch.zeros(3)], 0) == 0
