"""ResNet: He et al. 2016, "Deep residual learning for image recognition" (arXiv:1512.03385)."""

from typing import Literal

from torch import Tensor, nn

from .blocks import classifier, conv_norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_norm(inputs, width, 3, stride), conv_norm(width, width, 3, activation=None))
        self.shortcut = _shortcut(inputs, width, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, around a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.body = nn.Sequential(
            conv_norm(inputs, width, 1),
            conv_norm(width, width, 3, stride),
            conv_norm(width, outputs, 1, activation=None),
        )
        self.shortcut = _shortcut(inputs, outputs, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


def resnet(
    *,
    width: int = 64,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    classes: int = 1000,
) -> nn.Module:
    """Return a ResNet for (N, 3, H, W) pictures; the defaults are ResNet-18.

    Args:
        width: channels of the first stage; each further stage has twice as many.
        depths: blocks of each stage.
        block: `BasicBlock`, or `Bottleneck` from ResNet-50 on.
        stem: "imagenet" starts with a 7x7 convolution and pooling, "cifar" with a 3x3 convolution.
        classes: logits.
    """
    if stem == "imagenet":
        layers: list[nn.Module] = [conv_norm(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    else:
        layers = [conv_norm(3, width, 3)]
    inputs = width
    for stage, depth in enumerate(depths):
        stage_width = width << stage
        for index in range(depth):
            layers.append(block(inputs, stage_width, 2 if stage > 0 and index == 0 else 1))
            inputs = stage_width * block.expansion
    return nn.Sequential(*layers, *classifier(inputs, classes))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return conv_norm(inputs, outputs, 1, stride, activation=None)
