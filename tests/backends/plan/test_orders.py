"""The order in memory that each value should have."""

import torch
from torch import nn

from prunus.backends.plan.orders import preferred_orders
from prunus.frontend import import_model
from prunus.passes.fuse import fuse

NHWC, NCHW = (0, 2, 3, 1), (0, 1, 2, 3)


def orders(module: nn.Module, *examples: torch.Tensor) -> dict[str, tuple[int, ...]]:
    graph = import_model(module.eval(), example_inputs=examples)
    return {node.name: order for node, order in preferred_orders(fuse(graph)).items()}


class Follows(nn.Module):
    """Element-wise operators and views behind a convolution, and in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = torch.exp(x)
        y = self.conv(before)
        gate = torch.sigmoid(y.mean((2, 3), keepdim=True))
        return (y * gate).permute(0, 2, 3, 1)


def test_what_follows_a_convolution_keeps_its_channels_last() -> None:
    found = orders(Follows(), torch.randn(1, 3, 8, 8))
    assert found["exp"] == NCHW
    assert found["conv2d"] == NHWC
    assert found["mul"] == NHWC
    assert found["permute"] == (0, 1, 2, 3)


class Joined(nn.Module):
    """A small convolution beside a large element-wise result."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.exp(x), self.conv(x), torch.sin(x)], 1)


def test_a_concatenation_lies_as_its_kernels_with_anchors_write() -> None:
    assert orders(Joined(), torch.randn(1, 3, 8, 8))["cat"] == NHWC


class Product(nn.Module):
    """A matrix product and what is added to it."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ y + 1, -1)


def test_matrix_products_are_row_major() -> None:
    found = orders(Product(), torch.randn(2, 3, 4), torch.randn(2, 4, 5))
    assert set(found.values()) == {(0, 1, 2)}
