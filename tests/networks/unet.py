"""U-Net: Ronneberger et al. 2015, "Convolutional networks for biomedical image segmentation" (arXiv:1505.04597)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import conv_norm


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Return the two 3x3 convolutions of one level."""
    return nn.Sequential(conv_norm(inputs, outputs, 3), conv_norm(outputs, outputs, 3))


class UNet(nn.Module):
    """Down by max pooling, up by transposed convolutions; each level is concatenated with its twin on the way down.

    Pictures may have any size: what pooling rounded down is padded on the way up, where the paper crops.
    """

    def __init__(self, width: int, levels: int, classes: int) -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        self.down = nn.ModuleList(map(double_conv, [3, *widths[:-1]], widths))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, 2, 2) for wide, narrow in pairs)
        self.merge = nn.ModuleList(double_conv(wide, narrow) for wide, narrow in pairs)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        twins = []
        for level, down in enumerate(self.down):
            x = down(x if level == 0 else self.pool(x))
            twins.append(x)
        for up, merge, twin in zip(self.up, self.merge, twins[-2::-1], strict=True):
            x = up(x)
            missing = (0, twin.shape[3] - x.shape[3], 0, twin.shape[2] - x.shape[2])
            x = merge(torch.cat([twin, functional.pad(x, missing)], dim=1))
        return self.head(x)


def unet(*, width: int = 64, levels: int = 5, classes: int = 2) -> nn.Module:
    """Return a U-Net for (N, 3, H, W) pictures with `width` channels at the finest of `levels` levels."""
    return UNet(width, levels, classes)
