"""EfficientNet-B0: Tan and Le 2019, "EfficientNet: rethinking model scaling" (arXiv:1905.11946).

EfficientNet-Lite0 is the same without squeeze and with ReLU6 (Liu 2020, blog.tensorflow.org, "Higher accuracy on vision
models with EfficientNet-Lite").
"""

from torch import nn

from .blocks import InvertedResidual, SqueezeExcite, classifier, conv_norm, scaled

# Expansion, kernel, stride of the first repeat, output channels, repeats: table 1 of the paper.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def efficientnet(
    *, width: float = 1.0, stages: int = len(STAGES), lite: bool = False, classes: int = 1000
) -> nn.Module:
    """Return EfficientNet-B0 (or -Lite0) for (N, 3, H, W) pictures, with the first `stages` of its seven stages."""
    activation = nn.ReLU6 if lite else nn.SiLU
    inputs = scaled(32, width)
    layers: list[nn.Module] = [conv_norm(3, inputs, 3, 2, activation=activation)]
    for expansion, kernel, stride, channels, repeats in STAGES[:stages]:
        outputs = scaled(channels, width)
        for repeat in range(repeats):
            hidden = inputs * expansion
            squeeze = None if lite else SqueezeExcite(hidden, max(1, inputs // 4), nn.SiLU, nn.Sigmoid)
            layers.append(
                InvertedResidual(
                    inputs,
                    outputs,
                    hidden,
                    kernel=kernel,
                    stride=1 if repeat else stride,
                    activation=activation,
                    squeeze=squeeze,
                )
            )
            inputs = outputs
    features = scaled(1280, width)
    layers.append(conv_norm(inputs, features, 1, activation=activation))
    return nn.Sequential(*layers, *classifier(features, classes))
