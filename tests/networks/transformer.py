"""Text transformer: Vaswani et al. 2017 (arXiv:1706.03762), normalised first: Xiong et al. 2020 (arXiv:2002.04745)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention over (N, tokens, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        batch, tokens, dim = x.shape
        split = self.query_key_value(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.project(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class EncoderLayer(nn.Module):
    """Attention and a two-layer perceptron with GELU, each normalised first and added to its input."""

    def __init__(self, dim: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.perceptron = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), mask, causal=self.causal)
        return x + self.perceptron(self.norm2(x))


class TextTransformer(nn.Module):
    """Embedding, learned positions, encoder layers; logits from the mean of all tokens that the mask leaves."""

    def __init__(
        self, words: int, tokens: int, dim: int, depth: int, heads: int, classes: int, *, causal: bool
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, dim)
        self.positions = nn.Parameter(torch.zeros(tokens, dim))
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, causal=causal) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, words: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embedding(words) + self.positions
        for layer in self.layers:
            x = layer(x, None if mask is None else mask[:, None, None, :])
        x = self.norm(x)
        if mask is None:
            return self.head(x.mean(1))
        kept = mask.to(x.dtype)[:, :, None]
        return self.head((x * kept).sum(1) / kept.sum(1))


def text_transformer(
    *,
    words: int = 30522,
    tokens: int = 64,
    dim: int = 256,
    depth: int = 4,
    heads: int = 4,
    classes: int = 2,
    causal: bool = False,
) -> nn.Module:
    """Return a classifier of (N, tokens) int64 word numbers and, if not causal, an optional bool mask (True: word)."""
    return TextTransformer(words, tokens, dim, depth, heads, classes, causal=causal)
