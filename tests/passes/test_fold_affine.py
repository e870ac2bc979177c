"""Arithmetic with constants goes into the layer beside it."""

import pytest
import torch
from torch import nn

from prunus.passes import fold_affine
from prunus.passes.decompose import decompose

SCALE = torch.rand(7, 1, 1) + 0.5


@pytest.mark.parametrize(
    "expression", ["y * s", "y / s", "y + s", "y - s", "s - y", "2 * y", "y / 3", "y - 0.5", "1 - y"]
)
def test_before(apply, operators, expression: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.s = nn.Conv2d(3, 7, 3, padding=1), nn.Parameter(SCALE)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return eval(expression, {"y": self.conv(x), "s": self.s})

    assert operators(apply(Net(), [torch.randn(2, 3, 5, 5)], decompose, fold_affine)) == ["conv2d"]


@pytest.mark.parametrize(("padding", "kept"), [(0, ["conv2d"]), (1, ["sub", "conv2d"])])
def test_normalised_pixels_go_into_the_first_convolution(apply, operators, padding: int, kept: list[str]) -> None:
    class Net(nn.Module):
        mean: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 7, 3, padding=padding)
            self.register_buffer("mean", torch.rand(1, 3, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv((x - self.mean) / 0.25)

    assert operators(apply(Net(), [torch.randn(2, 3, 5, 5)], fold_affine, fold_affine)) == kept


def test_linear_scales_its_last_dimension(apply, operators) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.gamma = nn.Linear(5, 3), nn.Parameter(torch.rand(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) * self.gamma

    assert operators(apply(Net(), [torch.randn(2, 7, 5)], fold_affine)) == ["linear"]


def test_a_constant_for_each_pixel_stays(apply, operators) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.table = nn.Conv2d(3, 4, 1), nn.Parameter(torch.rand(4, 5, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) + self.table

    assert operators(apply(Net(), [torch.randn(2, 3, 5, 5)], fold_affine)) == ["conv2d", "add"]


def test_reason(apply, reasons) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.conv(x)
            return y, y * 2

    assert "read elsewhere" in reasons(apply(Net(), [torch.randn(2, 3, 5, 5)], fold_affine))
