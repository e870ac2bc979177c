"""DS-CNN: Zhang et al. 2017, "Hello Edge: keyword spotting on microcontrollers" (arXiv:1711.07128)."""

from torch import nn

from .blocks import classifier, conv_norm


def ds_cnn(*, width: int = 64, blocks: int = 4, classes: int = 12) -> nn.Module:
    """Return the depthwise separable network of MLPerf Tiny's keyword spotting, for (N, 1, 49, 10) MFCC."""
    layers: list[nn.Module] = [conv_norm(1, width, (10, 4), 2)]
    for _ in range(blocks):
        layers += [conv_norm(width, width, 3, groups=width), conv_norm(width, width, 1)]
    return nn.Sequential(*layers, *classifier(width, classes))
