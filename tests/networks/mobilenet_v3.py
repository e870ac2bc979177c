"""MobileNetV3-Small: Howard et al. 2019, "Searching for MobileNetV3" (arXiv:1905.02244)."""

from torch import nn

from .blocks import Activation, InvertedResidual, SqueezeExcite, conv_norm, scaled

# Kernel, hidden channels, output channels, squeeze, activation, stride: table 2 of the paper.
BLOCKS: tuple[tuple[int, int, int, bool, Activation, int], ...] = (
    (3, 16, 16, True, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 2),
    (3, 88, 24, False, nn.ReLU, 1),
    (5, 96, 40, True, nn.Hardswish, 2),
    (5, 240, 40, True, nn.Hardswish, 1),
    (5, 240, 40, True, nn.Hardswish, 1),
    (5, 120, 48, True, nn.Hardswish, 1),
    (5, 144, 48, True, nn.Hardswish, 1),
    (5, 288, 96, True, nn.Hardswish, 2),
    (5, 576, 96, True, nn.Hardswish, 1),
    (5, 576, 96, True, nn.Hardswish, 1),
)


def mobilenet_v3(*, width: float = 1.0, blocks: int = len(BLOCKS), classes: int = 1000) -> nn.Module:
    """Return MobileNetV3-Small for (N, 3, H, W) pictures, with the first `blocks` of its eleven blocks."""
    inputs = scaled(16, width)
    layers: list[nn.Module] = [conv_norm(3, inputs, 3, 2, activation=nn.Hardswish)]
    for kernel, hidden_channels, channels, squeezes, activation, stride in BLOCKS[:blocks]:
        hidden, outputs = scaled(hidden_channels, width), scaled(channels, width)
        squeeze = SqueezeExcite(hidden, max(1, hidden // 4), nn.ReLU, nn.Hardsigmoid) if squeezes else None
        layers.append(
            InvertedResidual(
                inputs, outputs, hidden, kernel=kernel, stride=stride, activation=activation, squeeze=squeeze
            )
        )
        inputs = outputs
    features, head = scaled(576, width), scaled(1024, width)
    return nn.Sequential(
        *layers,
        conv_norm(inputs, features, 1, activation=nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(features, head),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(head, classes),
    )
