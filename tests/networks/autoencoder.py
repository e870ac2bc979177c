"""Fully connected autoencoder: Koizumi et al. 2019, "ToyADMOS" (arXiv:1908.03299), as MLPerf Tiny uses it."""

from itertools import pairwise

from torch import nn


def autoencoder(*, features: int = 640, width: int = 128, code: int = 8) -> nn.Module:
    """Return the anomaly detector of MLPerf Tiny, for (N, features) spectrogram slices."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([features, *[width] * 4, code, *[width] * 4]):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, features))
