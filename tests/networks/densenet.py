"""DenseNet: Huang et al. 2017, "Densely connected convolutional networks" (arXiv:1608.06993)."""

import torch
from torch import Tensor, nn

from .blocks import classifier, conv_norm


class DenseLayer(nn.Module):
    """Normalise first, convolve to `growth` new channels, append them to the input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            conv_norm(inputs, 4 * growth, 1),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


def densenet(
    *, growth: int = 32, stem: int = 64, depths: tuple[int, ...] = (6, 12, 24, 16), classes: int = 1000
) -> nn.Module:
    """Return a DenseNet-BC for (N, 3, H, W) pictures; the defaults are DenseNet-121."""
    layers: list[nn.Module] = [conv_norm(3, stem, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = stem
    for stage, depth in enumerate(depths):
        if stage > 0:
            transition = nn.Conv2d(channels, channels // 2, 1, bias=False)
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), transition, nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(depth):
            layers.append(DenseLayer(channels, growth))
            channels += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *classifier(channels, classes))
