"""ShuffleNetV2: Ma et al. 2018, "Practical guidelines for efficient CNN architecture design" (arXiv:1807.11164)."""

import torch
from torch import Tensor, nn

from .blocks import classifier, conv_norm


class ShuffleUnit(nn.Module):
    """Half of the channels pass by, half are convolved, then both are shuffled: figure 3 (c) and (d) of the paper."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.splits = stride == 1
        branch_inputs = half if self.splits else inputs
        self.branch = nn.Sequential(
            conv_norm(branch_inputs, half, 1),
            conv_norm(half, half, 3, stride, groups=half, activation=None),
            conv_norm(half, half, 1),
        )
        self.shortcut: nn.Module = nn.Identity()
        if not self.splits:
            self.shortcut = nn.Sequential(
                conv_norm(inputs, inputs, 3, stride, groups=inputs, activation=None), conv_norm(inputs, half, 1)
            )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1) if self.splits else (x, x)
        return channel_shuffle(torch.cat([self.shortcut(left), self.branch(right)], dim=1), groups=2)


def channel_shuffle(x: Tensor, *, groups: int) -> Tensor:
    """Deal the channels of `groups` groups like cards: (g, c / g) transposed."""
    batch, channels, height, width = x.shape
    dealt = x.reshape(batch, groups, channels // groups, height, width).transpose(1, 2)
    return dealt.reshape(batch, channels, height, width)


def shufflenet_v2(
    *,
    stem: int = 24,
    stages: tuple[int, ...] = (116, 232, 464),
    repeats: tuple[int, ...] = (4, 8, 4),
    features: int = 1024,
    classes: int = 1000,
) -> nn.Module:
    """Return ShuffleNetV2 for (N, 3, H, W) pictures; `stages` are even numbers of channels, the defaults are 1.0x."""
    layers: list[nn.Module] = [conv_norm(3, stem, 3, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = stem
    for outputs, depth in zip(stages, repeats, strict=True):
        for index in range(depth):
            layers.append(ShuffleUnit(inputs, outputs, 1 if index else 2))
            inputs = outputs
    return nn.Sequential(*layers, conv_norm(inputs, features, 1), *classifier(features, classes))
