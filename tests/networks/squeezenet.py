"""SqueezeNet 1.1: Iandola et al. 2016, "AlexNet-level accuracy with 50x fewer parameters" (arXiv:1602.07360)."""

import torch
from torch import Tensor, nn

from .blocks import scaled


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1(x)), torch.relu(self.expand3(x))], dim=1)


def squeezenet(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return SqueezeNet 1.1 for (N, 3, H, W) pictures of at least 31 pixels."""
    inputs = scaled(64, width)
    layers: list[nn.Module] = [nn.Conv2d(3, inputs, 3, 2), nn.ReLU()]
    for position, expanded in enumerate((64, 64, 128, 128, 192, 192, 256, 256)):
        if position in (0, 2, 4):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        outputs = scaled(expanded, width)
        layers.append(Fire(inputs, scaled(expanded // 4, width), outputs))
        inputs = 2 * outputs
    return nn.Sequential(
        *layers, nn.Dropout(0.5), nn.Conv2d(inputs, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
