"""Batch norm folds into what stands before it, else behind it, else into a multiplication and an addition."""

from typing import Any

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import fold_batchnorm, run_passes, show
from tests.networks.blocks import settle

CHANNELS = [1, 3, 7, 17]


def norm(channels: int, dims: int) -> Any:
    layer: Any = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims](channels)
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.normal_(layer.bias)
    nn.init.normal_(layer.running_mean)
    nn.init.uniform_(layer.running_var, 0.2, 2)
    return layer


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_before(apply, operators, dims: int, channels: int, bias: bool) -> None:
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims](3, channels, 3, padding=1, bias=bias)
    module = nn.Sequential(conv, norm(channels, dims), nn.ReLU())
    assert operators(apply(module, [torch.randn(2, 3, *[5] * dims)], fold_batchnorm)) == [f"conv{dims}d", "relu"]


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_before_transposed(apply, operators, dims: int, groups: int) -> None:
    kind = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
    module = nn.Sequential(kind(9, 15, 3, stride=2, groups=groups), norm(15, dims))
    assert operators(apply(module, [torch.randn(2, 9, *[3] * dims)], fold_batchnorm)) == [f"conv_transpose{dims}d"]


@pytest.mark.parametrize("groups", [1, 3, 9])
def test_after(apply, operators, groups: int) -> None:
    module = nn.Sequential(norm(9, 2), nn.Conv2d(9, 18, 3, groups=groups, bias=False))
    assert operators(apply(module, [torch.randn(2, 9, 7, 5)], fold_batchnorm)) == ["conv2d"]


def test_linear_before_and_after(apply, operators) -> None:
    before = nn.Sequential(nn.Linear(5, 7), norm(7, 1), nn.ReLU())
    assert operators(apply(before, [torch.randn(3, 5)], fold_batchnorm)) == ["linear", "relu"]
    after = nn.Sequential(norm(5, 1), nn.Linear(5, 7))
    assert operators(apply(after, [torch.randn(3, 5)], fold_batchnorm)) == ["linear"]


def test_linear_over_a_sequence_stays(apply, operators, reasons) -> None:
    module = nn.Sequential(nn.Linear(5, 7), norm(3, 1))  # (2, 3, 7): the norm scales dimension 1
    graph = apply(module, [torch.randn(2, 3, 5)], fold_batchnorm)
    assert operators(graph) == ["linear", "mul", "add"]
    assert "features are the last" in reasons(graph)


def test_padding_forbids_a_shift_behind(apply, operators, reasons) -> None:
    module = nn.Sequential(norm(3, 2), nn.Conv2d(3, 4, 3, padding=1))
    graph = apply(module, [torch.randn(1, 3, 5, 5)], fold_batchnorm)
    assert operators(graph) == ["mul", "add", "conv2d"]
    assert "pads with zeros" in reasons(graph)


def test_scale_alone_passes_padding(apply, operators) -> None:
    layer = norm(3, 2)
    nn.init.zeros_(layer.bias)
    nn.init.zeros_(layer.running_mean)
    module = nn.Sequential(layer, nn.Conv2d(3, 4, 3, padding=1))
    assert operators(apply(module, [torch.randn(1, 3, 5, 5)], fold_batchnorm)) == ["conv2d"]


def test_shared_weights_stay(apply, operators, reasons) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), norm(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) + self.conv(x * 2)

    graph = apply(Shared(), [torch.randn(1, 3, 5, 5)], fold_batchnorm)
    assert "mul" in operators(graph)
    assert "shared with 'conv2d_1'" in reasons(graph)


def test_value_that_others_read_stays(apply, reasons) -> None:
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), norm(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.norm(y) * y

    assert "read elsewhere" in reasons(apply(Read(), [torch.randn(1, 3, 5, 5)], fold_batchnorm))


def test_training_mode_stays(reasons) -> None:
    graph = import_torch(nn.BatchNorm2d(3, track_running_stats=False), (torch.randn(2, 3, 5, 5),))
    after = run_passes(graph, [fold_batchnorm])
    assert "batch_norm" in show(after)
    assert "training mode" in reasons(after)


def test_weights_stay_parameters(apply) -> None:
    module = settle(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)))
    graph = apply(module, [torch.randn(1, 3, 5, 5)], fold_batchnorm)
    assert sorted(name for name, _ in graph.named_parameters()) == ["0.bias", "0.weight"]
    assert not list(graph.named_buffers())
