"""Pieces that several families share, and the weights that they are tested with."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]

# Parameters that modules of these families own directly, outside any layer.
LEARNED_TABLES = ("positions", "class_token", "relative_bias")


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    groups: int = 1,
    activation: Activation | None = nn.ReLU,
) -> nn.Sequential:
    """Return convolution, batch normalisation and activation; odd kernels keep the size, or divide it by the stride."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, (width - 1) // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, (height, width), stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def classifier(features: int, classes: int) -> list[nn.Module]:
    """Return the layers that end most image classifiers: mean over the picture, then linear."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)]


def scaled(channels: int, width: float) -> int:
    """Return `channels` times a width multiplier, at least 1, not rounded to multiples of 8 as published tables are."""
    return max(1, round(channels * width))


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the means of all (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.expand(self.activation(self.reduce(means))))


class InvertedResidual(nn.Module):
    """Expand, depthwise, [squeeze and excite], project; added to the input where shapes allow.

    Sandler et al. 2018 (arXiv:1801.04381); MobileNetV3 and EfficientNet add the squeeze.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        activation: Activation = nn.ReLU6,
        squeeze: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        expand = [conv_norm(inputs, hidden, 1, activation=activation)] if hidden != inputs else []
        self.body = nn.Sequential(
            *expand,
            conv_norm(hidden, hidden, kernel, stride, groups=hidden, activation=activation),
            *([squeeze] if squeeze else []),
            conv_norm(hidden, outputs, 1, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def settle(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Give `module` weights that keep signals alive and statistics that are not the defaults; returns it in eval mode.

    Convolutions and linear layers get the initialisation of He et al. 2015 (arXiv:1502.01852), so that the output of a
    deep network still depends on its input. Normalisations get scales, shifts, means and variances other than 1 and 0.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
                transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
                fan_in = layer.weight[0].numel() if not transposed else layer.weight.numel() // layer.weight.shape[1]
                layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
                _randomise(layer.bias, (-0.1, 0.1), generator)
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
                _randomise(layer.weight, (0.5, 1.5), generator)
                _randomise(layer.bias, (-0.2, 0.2), generator)
                _randomise(getattr(layer, "running_mean", None), (-0.2, 0.2), generator)
                _randomise(getattr(layer, "running_var", None), (0.5, 1.5), generator)
            elif isinstance(layer, nn.PReLU):
                _randomise(layer.weight, (0.05, 0.5), generator)
            elif isinstance(layer, nn.GRU | nn.LSTM):
                bound = layer.hidden_size**-0.5
                for weight in layer.parameters():
                    _randomise(weight, (-bound, bound), generator)
            elif isinstance(layer, nn.Embedding):
                layer.weight.normal_(generator=generator)
        for name, weight in module.named_parameters():
            if name.rpartition(".")[2] in LEARNED_TABLES:
                weight.normal_(0, 0.5, generator=generator)
    return module.eval()


def _randomise(tensor: Tensor | None, limits: Sequence[float], generator: torch.Generator) -> None:
    if tensor is not None:
        tensor.uniform_(*limits, generator=generator)
