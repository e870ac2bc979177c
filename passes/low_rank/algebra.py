"""The best product of two smaller matrices for a matrix, seen through the values that it is multiplied with."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """A matrix (m, n) as `left @ right`, its directions sorted by what they carry.

    Attributes:
        left: (m, k) float64, orthonormal columns; k is the full rank.
        right: (k, n) float64.
        energies: (k,) float64, descending: what the outputs lose without each direction.
    """

    left: Tensor
    right: Tensor
    energies: Tensor

    def error(self, rank: int) -> float:
        """Return the share of the energy that is lost when `rank` directions stay."""
        total = float(self.energies.sum())
        return float(self.energies[rank:].sum()) / total if total > 0 else 0.0

    def rank_for(self, error: float) -> int:
        """Return the smallest rank, at least 1, that loses at most `error`."""
        total = float(self.energies.sum())
        tails = total - torch.cumsum(self.energies, 0)  # of ranks 1, 2, ...
        enough = (tails <= error * total + 1e-12 * total).nonzero()
        return int(enough[0]) + 1 if len(enough) else len(self.energies)


def spectrum(matrix: Tensor, root: Tensor | None = None) -> Spectrum:
    """Decompose `matrix` so that each rank loses the least of `matrix @ x`.

    With x of second moment S = R'R and U the left singular vectors of W R', the best matrix of rank r is U_r U_r' W
    (Zhang et al. 2016, arXiv:1505.06798, section 3.1; Chen et al. 2021, DRONE). No inverse of S is needed, so that
    inputs may be as degenerate as they like. Without inputs S is the identity: Eckart and Young's theorem.

    Args:
        matrix: (m, n), W.
        root: (any, n) float64, R.
    """
    matrix = matrix.double()
    seen = matrix if root is None else matrix @ root.t()
    left, singular, _ = torch.linalg.svd(seen, full_matrices=False)
    return Spectrum(left, left.t() @ matrix, singular.square())
