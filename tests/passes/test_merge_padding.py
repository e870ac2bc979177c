"""Layers pad for themselves where that is the same."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.passes import decompose, merge_padding

IMAGE = torch.randn(2, 3, 9, 7)


@pytest.mark.parametrize(
    ("pad", "layer", "left"),
    [
        (nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3), ["conv2d"]),
        (nn.ZeroPad2d((2, 2, 1, 1)), nn.Conv2d(3, 4, 3, padding=(1, 0), stride=2), ["conv2d"]),
        (nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3), ["constant_pad_nd", "conv2d"]),
        (nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 3), ["constant_pad_nd", "conv2d"]),
        (nn.ZeroPad2d(1), nn.AvgPool2d(3), ["avg_pool2d"]),
        (nn.ZeroPad2d(1), nn.AvgPool2d(3, count_include_pad=False), ["avg_pool2d"]),
        (nn.ZeroPad2d(1), nn.AvgPool2d(5, padding=1, count_include_pad=False), ["constant_pad_nd", "avg_pool2d"]),
        (nn.ZeroPad2d(2), nn.AvgPool2d(3), ["constant_pad_nd", "avg_pool2d"]),
        (nn.ZeroPad2d(1), nn.AvgPool2d(4, 3, ceil_mode=True), ["constant_pad_nd", "avg_pool2d"]),
        (nn.ConstantPad2d(1, -math.inf), nn.MaxPool2d(3), ["max_pool2d"]),
        (nn.ZeroPad2d(1), nn.MaxPool2d(3), ["constant_pad_nd", "max_pool2d"]),
        (nn.ConstantPad3d((0, 0, 0, 0, 1, 1), 0.0), nn.Conv2d(5, 4, 3), ["constant_pad_nd", "conv2d"]),
    ],
)
def test_layers(apply, operators, reasons, pad: nn.Module, layer: nn.Module, left: list[str]) -> None:
    graph = apply(nn.Sequential(pad, layer), [IMAGE], decompose, merge_padding)
    assert operators(graph) == left
    assert bool(reasons(graph)) == (len(left) > 1)


def test_one_dimension(apply, operators) -> None:
    module = nn.Sequential(nn.ConstantPad1d(2, 0.0), nn.Conv1d(3, 5, 5, dilation=2))
    assert operators(apply(module, [torch.randn(2, 3, 11)], decompose, merge_padding)) == ["conv1d"]


def test_several_readers_each_pad(apply, operators) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.pad(x, (1, 1, 1, 1))
            return self.left(x) + self.right(x)

    assert operators(apply(Branches(), [IMAGE], decompose, merge_padding)) == ["conv2d", "conv2d", "add"]


def test_padding_of_padding(apply, operators, formula, reasons) -> None:
    graph = apply(formula(lambda x: F.pad(F.pad(x, (1, 0)), (0, 2, 3, 1))), [IMAGE], decompose, merge_padding)
    assert operators(graph) == ["constant_pad_nd"]
    graph = apply(formula(lambda x: F.pad(F.pad(x, (1, 0)), (0, 2), value=1.0)), [IMAGE], decompose, merge_padding)
    assert operators(graph) == ["constant_pad_nd", "constant_pad_nd"]
    assert "pads with 1.0" in reasons(graph)
