"""Inception: Szegedy et al. 2015, "Going deeper with convolutions" (arXiv:1409.4842), with batch normalisation."""

import torch
from torch import Tensor, nn

from .blocks import classifier, conv_norm, scaled


class InceptionBlock(nn.Module):
    """1x1, 3x3, 5x5 and pooling side by side: figure 2 (b) of the paper."""

    def __init__(self, inputs: int, ones: int, threes: tuple[int, int], fives: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_norm(inputs, ones, 1),
                nn.Sequential(conv_norm(inputs, threes[0], 1), conv_norm(threes[0], threes[1], 3)),
                nn.Sequential(conv_norm(inputs, fives[0], 1), conv_norm(fives[0], fives[1], 5)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm(inputs, pooled, 1)),
            ]
        )
        self.outputs = ones + threes[1] + fives[1] + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def inception(*, width: float = 1.0, classes: int = 1000) -> nn.Module:
    """Return the stem and the blocks 3a and 3b of GoogLeNet, then a classifier, for (N, 3, H, W) pictures."""
    stem = scaled(192, width)
    first = InceptionBlock(
        stem,
        scaled(64, width),
        (scaled(96, width), scaled(128, width)),
        (scaled(16, width), scaled(32, width)),
        scaled(32, width),
    )
    second = InceptionBlock(
        first.outputs,
        scaled(128, width),
        (scaled(128, width), scaled(192, width)),
        (scaled(32, width), scaled(96, width)),
        scaled(64, width),
    )
    layers = [conv_norm(3, stem, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), first, second, nn.MaxPool2d(3, 2)]
    return nn.Sequential(*layers, *classifier(second.outputs, classes))
