"""Temporal convolution network, with batch normalisation instead of weight normalisation.

Bai et al. 2018, "An empirical evaluation of generic convolutional and recurrent networks" (arXiv:1803.01271).
"""

from torch import Tensor, nn
from torch.nn import functional


class CausalBlock(nn.Module):
    """Two dilated convolutions that see only the past, around a shortcut."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.conv1 = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, bias=False)
        self.conv2 = nn.Conv1d(outputs, outputs, kernel, dilation=dilation, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm1d(outputs), nn.BatchNorm1d(outputs)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(functional.pad(x, (self.past, 0)))))
        y = functional.relu(self.norm2(self.conv2(functional.pad(y, (self.past, 0)))))
        return functional.relu(y + self.shortcut(x))


class LastStep(nn.Module):
    """Pick the last step of (N, channels, steps)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., -1]


def temporal_convolution(
    *, features: int = 40, width: int = 64, depth: int = 4, kernel: int = 3, classes: int = 12
) -> nn.Module:
    """Return a classifier of (N, features, steps) sequences whose dilation doubles from block to block."""
    blocks = [CausalBlock(width if level else features, width, kernel, 1 << level) for level in range(depth)]
    return nn.Sequential(*blocks, LastStep(), nn.Linear(width, classes))
