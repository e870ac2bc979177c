"""Swin transformer: Liu et al. 2021, "Hierarchical vision transformer using shifted windows" (arXiv:2103.14030)."""

import torch
from torch import Tensor, nn

from .blocks import classifier


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learned bias for each relative position and, where shifted, a mask."""

    relative_index: Tensor
    mask: Tensor | None

    def __init__(self, dim: int, heads: int, pixels: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.relative_bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_index", relative_index(window))
        self.register_buffer("mask", shift_mask(pixels, window, shift) if shift else None)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        shifted = x.roll((-self.shift, -self.shift), (1, 2)) if self.shift else x
        windows = partition(shifted, self.window)
        count, tokens, _ = windows.shape
        split = self.query_key_value(windows).reshape(count, tokens, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * (dim // self.heads) ** -0.5
        scores = scores + self.relative_bias[self.relative_index].permute(2, 0, 1)
        if self.mask is not None:
            grouped = scores.reshape(batch, -1, self.heads, tokens, tokens) + self.mask[None, :, None]
            scores = grouped.reshape(count, self.heads, tokens, tokens)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(count, tokens, dim)
        joined = join(self.project(mixed), self.window, height, width)
        return joined.roll((self.shift, self.shift), (1, 2)) if self.shift else joined


class SwinBlock(nn.Module):
    """Window attention and a perceptron on (N, H, W, dim), each normalised first and added to its input."""

    def __init__(self, dim: int, heads: int, pixels: int, window: int, shift: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, pixels, window, shift)
        self.perceptron = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))


class Swin(nn.Module):
    """Patches, pairs of a plain and a shifted block, patch merging to half the size in between."""

    def __init__(self, pixels: int, patch: int, dim: int, heads: int, window: int, classes: int) -> None:
        super().__init__()
        side = pixels // patch
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.first = _pair(dim, heads, side, window)
        self.merge = nn.Sequential(nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False))
        self.second = _pair(2 * dim, 2 * heads, side // 2, window)
        self.norm = nn.LayerNorm(2 * dim)
        self.head = nn.Sequential(*classifier(2 * dim, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.patches(x).permute(0, 2, 3, 1))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = self.second(self.merge(torch.cat(corners, dim=-1)))
        return self.head(self.norm(x).permute(0, 3, 1, 2))


def partition(x: Tensor, window: int) -> Tensor:
    """Cut (N, H, W, C) into (N * windows, window * window, C)."""
    batch, height, width, dim = x.shape
    split = x.reshape(batch, height // window, window, width // window, window, dim)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(-1, window * window, dim)


def join(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo `partition`."""
    split = windows.reshape(-1, height // window, width // window, window, window, windows.shape[-1])
    return split.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows.shape[-1])


def relative_index(window: int) -> Tensor:
    """Return, for each pair of pixels of a window, the row of the bias table that their offset has."""
    positions = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offsets = positions[:, None] - positions[None] + window - 1
    return offsets[..., 0] * (2 * window - 1) + offsets[..., 1]


def shift_mask(pixels: int, window: int, shift: int) -> Tensor:
    """Return (windows, tokens, tokens): -100 where a shifted window holds two pixels from opposite edges, else 0."""
    edges = torch.zeros(pixels, dtype=torch.long)
    edges[-window:-shift], edges[-shift:] = 1, 2
    region = (3 * edges[:, None] + edges[None])[None, :, :, None]
    tokens = partition(region, window)[..., 0]
    return (tokens[:, :, None] != tokens[:, None]).float() * -100


def swin(
    *, pixels: int = 224, patch: int = 4, dim: int = 96, heads: int = 3, window: int = 7, classes: int = 1000
) -> nn.Module:
    """Return two stages of Swin for square pictures (N, 3, pixels, pixels); each stage has whole windows."""
    return Swin(pixels, patch, dim, heads, window, classes)


def _pair(dim: int, heads: int, pixels: int, window: int) -> nn.Sequential:
    shift = window // 2 if pixels > window else 0
    return nn.Sequential(SwinBlock(dim, heads, pixels, window, 0), SwinBlock(dim, heads, pixels, window, shift))
