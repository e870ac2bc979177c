"""MobileNetV2: Sandler et al. 2018, "Inverted residuals and linear bottlenecks" (arXiv:1801.04381)."""

from torch import nn

from .blocks import InvertedResidual, classifier, conv_norm, scaled

# Expansion, output channels, repeats, stride of the first repeat: table 2 of the paper.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(*, width: float = 1.0, stages: int = len(STAGES), classes: int = 1000) -> nn.Module:
    """Return MobileNetV2 for (N, 3, H, W) pictures, with the first `stages` of its seven stages."""
    inputs = scaled(32, width)
    layers: list[nn.Module] = [conv_norm(3, inputs, 3, 2, activation=nn.ReLU6)]
    for expansion, channels, repeats, stride in STAGES[:stages]:
        outputs = scaled(channels, width)
        for repeat in range(repeats):
            layers.append(InvertedResidual(inputs, outputs, inputs * expansion, stride=1 if repeat else stride))
            inputs = outputs
    features = scaled(1280, width)
    layers.append(conv_norm(inputs, features, 1, activation=nn.ReLU6))
    return nn.Sequential(*layers, *classifier(features, classes))
