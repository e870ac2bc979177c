"""ViT: Dosovitskiy et al. 2021, "An image is worth 16x16 words" (arXiv:2010.11929)."""

import torch
from torch import Tensor, nn

from .transformer import EncoderLayer


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, pre-norm encoder layers; logits from the class token."""

    def __init__(self, pixels: int, patch: int, dim: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, (pixels // patch) ** 2 + 1, dim))
        self.layers = nn.ModuleList(EncoderLayer(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens)[:, 0])


def vit(
    *, pixels: int = 224, patch: int = 16, dim: int = 192, depth: int = 12, heads: int = 3, classes: int = 1000
) -> nn.Module:
    """Return a ViT for (N, 3, pixels, pixels) pictures; the defaults are ViT-Tiny."""
    return VisionTransformer(pixels, patch, dim, depth, heads, classes)
