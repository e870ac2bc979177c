"""Truncated SVD: a layer onto fewer outputs, and a product that spreads these."""

from prunus.passes.low_rank.algebra import spectrum
from prunus.passes.low_rank.evidence import Evidence
from prunus.passes.low_rank.factors import Factors, Stage, moved_bias, round_up
from prunus.passes.low_rank.layers import Layer


class Svd:
    """Singular value decomposition of a layer by outputs.

    before:  linear(x, W) + b                     conv(x, W, stride, padding) + b
    after:   linear(linear(x, V), U) + b'         conv_1x1(conv(x, V, stride, padding), U) + b'

    U is (O, r), V is (r, I, *kernel). For larger kernels this is the channel decomposition of Zhang et al. 2016
    (arXiv:1505.06798), for linear layers and 1x1 convolutions the SVD of the matrix.
    """

    def __init__(self, layer: Layer, evidence: Evidence) -> None:
        self.layer, self.evidence = layer, evidence
        self.spectrum = spectrum(layer.weight.flatten(1), evidence.root)

    def cut(self, error: float, multiple: int) -> Factors | None:
        """See `Method`."""
        full = len(self.spectrum.energies)
        least = round_up(self.spectrum.rank_for(error), multiple, full)
        ranks = range(least, full, multiple)
        return next((factors for factors in map(self.at, ranks) if factors.error <= error), None)

    def at(self, rank: int) -> Factors:
        """Return the factors of one rank."""
        layer, dims = self.layer, len(self.layer.kernel)
        left, right = self.spectrum.left[:, :rank], self.spectrum.right[:rank]
        instead = (left @ right).reshape(layer.weight.shape)
        ones, zeros = (1,) * dims, (0,) * dims
        return Factors(
            method="svd",
            ranks=(rank,),
            full_ranks=(len(self.spectrum.energies),),
            error=self.evidence.error(layer.weight, instead),
            stages=(
                Stage("narrow", right.reshape(-1, *layer.weight.shape[1:]).float(), layer.stride, layer.padding,
                      layer.dilation),
                Stage("wide", left.reshape(-1, rank, *ones).float(), ones, zeros, ones),
            ),
            bias=moved_bias(layer, self.evidence, instead),
        )  # fmt: skip
