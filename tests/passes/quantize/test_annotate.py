"""What becomes int8, with how many bits, and why the rest does not."""

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, run_passes
from prunus.passes.quantize import annotate
from prunus.targets import load_target
from tests.passes.quantize.networks import BY_NAME


@pytest.mark.parametrize(
    ("target", "expected"),
    [("x86-64-v3", [7, 8, 7]), ("x86-64-vnni", [8, 8, 8]), ("rpi4", [8, 8, 8]), ("rpi5", [8, 8, 8])],
)
def test_weight_bits(target: str, expected: list[int]) -> None:
    """`vpmaddubsw` adds two products in int16; a depthwise layer has only one."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1)
    ).eval()
    x = torch.randn(1, 3, 6, 6)
    graph = run_passes(import_torch(module, (x,)), DEFAULT, (x,))
    assert list(annotate(graph, load_target(target)).weight_bits.values()) == expected
    assert set(annotate(graph, load_target(target), bits=4).weight_bits.values()) == {4}


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
