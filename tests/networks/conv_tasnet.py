"""Conv-TasNet: Luo and Mesgarani 2019, "Surpassing ideal time-frequency magnitude masking for speech separation"
(arXiv:1809.07454), with the gated encoder of the first TasNet (arXiv:1711.00541).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SeparationBlock(nn.Module):
    """1x1 up, depthwise dilated, 1x1 down, with PReLU and global layer normalisation: figure 1 (c) of the paper."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, hidden, 1),
            nn.PReLU(),
            nn.GroupNorm(1, hidden),
            nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation, groups=hidden),
            nn.PReLU(),
            nn.GroupNorm(1, hidden),
        )
        self.residual = nn.Conv1d(hidden, channels, 1)
        self.skip = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.body(x)
        return x + self.residual(y), self.skip(y)


class ConvTasNet(nn.Module):
    """Learned filters, a mask for each speaker, and learned filters back to sound."""

    def __init__(self, filters: int, length: int, channels: int, depth: int, speakers: int) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 2 * filters, length, length // 2, bias=False)
        self.enter = nn.Sequential(nn.GroupNorm(1, filters), nn.Conv1d(filters, channels, 1))
        self.blocks = nn.ModuleList(SeparationBlock(channels, 2 * channels, 1 << level) for level in range(depth))
        self.masks = nn.Sequential(nn.PReLU(channels), nn.Conv1d(channels, speakers * filters, 1), nn.Sigmoid())
        self.decoder = nn.ConvTranspose1d(filters, 1, length, length // 2, bias=False)
        self.speakers = speakers

    def forward(self, sound: Tensor) -> Tensor:
        frames = functional.glu(self.encoder(sound), dim=1)
        x, total = self.enter(frames), torch.zeros(())
        for block in self.blocks:
            x, skip = block(x)
            total = skip + total
        masks = self.masks(total).unflatten(1, (self.speakers, -1))
        batch, _, filters, steps = masks.shape
        separated = (masks * frames[:, None]).reshape(batch * self.speakers, filters, steps)
        return self.decoder(separated).reshape(batch, self.speakers, -1)


def conv_tasnet(
    *, filters: int = 512, length: int = 16, channels: int = 128, depth: int = 8, speakers: int = 2
) -> nn.Module:
    """Return a network that separates (N, 1, samples) sound into (N, speakers, samples)."""
    return ConvTasNet(filters, length, channels, depth, speakers)
