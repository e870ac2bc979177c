"""C2f and SPPF blocks and the upsampling neck of YOLOv8: Jocher et al. 2023 (github.com/ultralytics/ultralytics).

C2f is a cross-stage partial block (Wang et al. 2020, arXiv:1911.11929) that keeps what each bottleneck made.
"""

import torch
from torch import Tensor, nn

from .blocks import conv_norm


class Residual(nn.Module):
    """Two 3x3 convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(channels, channels, 3, activation=nn.SiLU), conv_norm(channels, channels, 3, activation=nn.SiLU)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class C2f(nn.Module):
    """Split in two; one half runs through `depth` bottlenecks; everything is concatenated and mixed."""

    def __init__(self, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.part = half = outputs // 2
        self.enter = conv_norm(inputs, 2 * half, 1, activation=nn.SiLU)
        self.blocks = nn.ModuleList(Residual(half) for _ in range(depth))
        self.leave = conv_norm((2 + depth) * half, outputs, 1, activation=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).split(self.part, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, dim=1))


class SPPF(nn.Module):
    """Three max poolings in a row, concatenated: a pyramid of 5, 9 and 13 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv_norm(channels, channels // 2, 1, activation=nn.SiLU)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = conv_norm(channels // 2 * 4, channels, 1, activation=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.enter(x)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        return self.leave(torch.cat(levels, dim=1))


class Detector(nn.Module):
    """Two scales, joined by upsampling, each with its map of scores."""

    def __init__(self, width: int, depth: int, scores: int) -> None:
        super().__init__()
        self.stem = conv_norm(3, width, 3, 2, activation=nn.SiLU)
        self.fine = C2f(width, width, depth)
        self.down = conv_norm(width, 2 * width, 3, 2, activation=nn.SiLU)
        self.coarse = nn.Sequential(C2f(2 * width, 2 * width, depth), SPPF(2 * width))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.merge = C2f(3 * width, width, depth)
        self.heads = nn.ModuleList([nn.Conv2d(width, scores, 1), nn.Conv2d(2 * width, scores, 1)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(self.down(fine))
        merged = self.merge(torch.cat([self.up(coarse), fine], dim=1))
        return self.heads[0](merged), self.heads[1](coarse)


def c2f_detector(*, width: int = 64, depth: int = 1, scores: int = 84) -> nn.Module:
    """Return a two-scale detector of C2f blocks for (N, 3, H, W) pictures whose sides are multiples of 4."""
    return Detector(width, depth, scores)
