"""MobileNetV1: Howard et al. 2017, "MobileNets: efficient convolutional neural networks" (arXiv:1704.04861)."""

from torch import nn

from .blocks import classifier, conv_norm, scaled

# Output channels and stride of each depthwise separable block: table 1 of the paper.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def mobilenet_v1(*, width: float = 1.0, blocks: int = len(BLOCKS), classes: int = 1000) -> nn.Module:
    """Return MobileNetV1 for (N, 3, H, W) pictures, with the first `blocks` of its 13 blocks."""
    inputs = scaled(32, width)
    layers: list[nn.Module] = [conv_norm(3, inputs, 3, 2)]
    for channels, stride in BLOCKS[:blocks]:
        outputs = scaled(channels, width)
        layers += [conv_norm(inputs, inputs, 3, stride, groups=inputs), conv_norm(inputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, *classifier(inputs, classes))
