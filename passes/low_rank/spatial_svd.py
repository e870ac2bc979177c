"""Spatial SVD: a convolution down the rows, then one along the columns."""

import torch

from prunus.passes.low_rank.algebra import spectrum
from prunus.passes.low_rank.evidence import Evidence
from prunus.passes.low_rank.factors import Factors, Stage, moved_bias
from prunus.passes.low_rank.layers import Layer


class SpatialSvd:
    """Separable filters (Jaderberg et al. 2014, arXiv:1405.3866, scheme 2).

    before:  conv(x, W), W (O, I, h, w)
    after:   conv(conv(x, V), H), V (r, I, h, 1), H (O, r, 1, w)

    The matrix is W as (O * w, I * h), seen through the covariance of vertical lines of the input; products of different
    columns of a window are left out of it, so the rank that the error asks for is looked up in the samples afterwards.
    """

    def __init__(self, layer: Layer, evidence: Evidence) -> None:
        self.layer, self.evidence = layer, evidence
        matrix = layer.weight.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)  # (O, I, h, w) --> (O * w, I * h)
        self.spectrum = spectrum(matrix, evidence.root_along(2))

    @staticmethod
    def suits(layer: Layer) -> bool:
        """Tell whether a layer has columns to take apart."""
        return len(layer.kernel) == 2 and min(layer.kernel) > 1

    def cut(self, error: float, multiple: int) -> Factors | None:
        """See `Method`: look for the rank by halving, since more directions lose less."""
        full = len(self.spectrum.energies)
        choices = range(multiple, full, multiple)
        low, high = 0, len(choices)
        while low < high:
            middle = (low + high) // 2
            if self._error(choices[middle]) <= error:
                high = middle
            else:
                low = middle + 1
        return self.at(choices[low]) if low < len(choices) else None

    def at(self, rank: int) -> Factors:
        """Return the factors of one rank."""
        layer = self.layer
        outputs, inputs, height, width = layer.weight.shape
        vertical = self.spectrum.right[:rank].reshape(rank, inputs, height, 1)
        horizontal = self.spectrum.left[:, :rank].reshape(outputs, width, 1, rank).permute(0, 3, 2, 1)
        instead = self._instead(rank)
        down = Stage("vertical", vertical.float(), (layer.stride[0], 1), (layer.padding[0], 0), (layer.dilation[0], 1))
        along = Stage(
            "horizontal", horizontal.float(), (1, layer.stride[1]), (0, layer.padding[1]), (1, layer.dilation[1])
        )
        return Factors(
            method="spatial_svd",
            ranks=(rank,),
            full_ranks=(len(self.spectrum.energies),),
            error=self.evidence.error(layer.weight, instead),
            stages=(down, along),
            bias=moved_bias(layer, self.evidence, instead),
        )

    def _error(self, rank: int) -> float:
        return self.evidence.expected_error(self.layer.weight, self._instead(rank))

    def _instead(self, rank: int) -> torch.Tensor:
        """Return the weight that both factors together are, (O, I, h, w) float64."""
        outputs, inputs, height, width = self.layer.weight.shape
        product = self.spectrum.left[:, :rank] @ self.spectrum.right[:rank]
        return product.reshape(outputs, width, inputs, height).permute(0, 2, 3, 1)
