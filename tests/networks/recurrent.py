"""Classifiers of sequences.

LSTM: Hochreiter and Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735), with the forget gate of Gers et al. 2000
(doi:10.1162/089976600300015015). GRU: Cho et al. 2014 (arXiv:1406.1078).
"""

from typing import Literal

from torch import Tensor, nn


class Recurrent(nn.Module):
    """Recurrent layers over (N, steps, features), then a linear layer on the last step."""

    def __init__(self, layers: nn.GRU | nn.LSTM, classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(layers.hidden_size * (2 if layers.bidirectional else 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.layers(x)
        return self.head(outputs[:, -1])


def recurrent(
    kind: Literal["gru", "lstm"],
    *,
    features: int = 40,
    hidden: int = 128,
    layers: int = 2,
    bidirectional: bool = False,
    classes: int = 12,
) -> nn.Module:
    """Return a GRU or LSTM classifier of (N, steps, features) sequences."""
    cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
    return Recurrent(cell(features, hidden, layers, batch_first=True, bidirectional=bidirectional), classes)
