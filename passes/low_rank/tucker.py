"""Tucker-2: a convolution between fewer channels on both sides."""

import torch
from torch import Tensor

from prunus.passes.low_rank.algebra import spectrum
from prunus.passes.low_rank.evidence import Evidence
from prunus.passes.low_rank.factors import Factors, Stage, moved_bias, round_up
from prunus.passes.low_rank.layers import Layer


class Tucker2:
    """Tucker decomposition of the two dimensions of channels (Kim et al. 2016, arXiv:1511.06530).

    before:  conv(x, W), W (O, I, *kernel)
    after:   conv_1x1(conv(conv_1x1(x, V), C), U), V (s, I), C (r, s, *kernel), U (O, r)

    U are the directions in which outputs vary on the samples. Inputs are projected by the same criterion, the matrix
    being W as (O * kernel, I) seen through the covariance of channels.

    Args:
        by_time: of all pairs of ranks take the one of fewest multiplications; else of fewest bytes.
    """

    def __init__(self, layer: Layer, evidence: Evidence, *, by_time: bool) -> None:
        self.layer, self.evidence, self.by_time = layer, evidence, by_time
        self.outputs = spectrum(layer.weight.flatten(1), evidence.root)
        rows = layer.weight.movedim(1, -1).flatten(0, -2)  # (O, I, *kernel) --> (O * kernel, I)
        self.inputs = spectrum(rows, evidence.root_along(1))
        self.full = (len(self.inputs.energies), len(self.outputs.energies))

    @staticmethod
    def suits(layer: Layer) -> bool:
        """Tell whether a layer has a kernel between its channels."""
        return bool(layer.kernel) and layer.weight[0, 0].numel() > 1

    def cut(self, error: float, multiple: int) -> Factors | None:
        """See `Method`: both sides share the error; what they lose together is measured, and the share corrected."""
        allowed = error
        for _ in range(4):
            found = self._cheapest(allowed, multiple)
            if found is None:
                return None
            lost = self.evidence.expected_error(self.layer.weight, self._instead(*found))
            if lost <= error:
                return self.at(*found)
            allowed *= 0.9 * error / lost
        return None

    def at(self, inner: int, outer: int) -> Factors:
        """Return the factors of `inner` input and `outer` output channels."""
        layer, dims = self.layer, len(self.layer.kernel)
        reads, core, left = self._parts(inner, outer)
        instead = self._instead(inner, outer)
        ones, zeros = (1,) * dims, (0,) * dims
        return Factors(
            method="tucker2",
            ranks=(inner, outer),
            full_ranks=self.full,
            error=self.evidence.error(layer.weight, instead),
            stages=(
                Stage("narrow", reads.reshape(inner, -1, *ones).float(), ones, zeros, ones),
                Stage("core", core.float(), layer.stride, layer.padding, layer.dilation),
                Stage("wide", left.reshape(-1, outer, *ones).float(), ones, zeros, ones),
            ),
            bias=moved_bias(layer, self.evidence, instead),
        )

    def _parts(self, inner: int, outer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return V (s, I), C (r, s, *kernel) and U (O, r) in float64."""
        layer, left = self.layer, self.outputs.left[:, :outer]
        spread = self.inputs.left[:, :inner].reshape(len(layer.weight), *layer.kernel, inner).movedim(-1, 1)
        return self.inputs.right[:inner], torch.einsum("or,os...->rs...", left, spread), left

    def _instead(self, inner: int, outer: int) -> Tensor:
        """Return the weight that all factors together are, (O, I, *kernel) float64."""
        reads, core, left = self._parts(inner, outer)
        whole = torch.einsum("rs...,si->ri...", core, reads)
        return torch.einsum("or,ri...->oi...", left, whole)

    def _cheapest(self, error: float, multiple: int) -> tuple[int, int] | None:
        """Return the cheapest pair of ranks whose errors add up to at most `error`."""
        inner_full, outer_full = self.full
        best: tuple[float, tuple[int, int]] | None = None
        for inner in range(multiple, inner_full, multiple):
            left_over = error - self.inputs.error(inner)
            if left_over < 0:
                continue
            outer = round_up(self.outputs.rank_for(left_over), multiple, outer_full)
            if outer < outer_full and (best is None or self._cost(inner, outer) < best[0]):
                best = self._cost(inner, outer), (inner, outer)
        return None if best is None else best[1]

    def _cost(self, inner: int, outer: int) -> float:
        """Return the numbers of the factors, or how often each of them is multiplied per output position."""
        outputs, inputs, *kernel = self.layer.weight.shape
        places = 1.0
        if self.by_time:
            for stride in self.layer.stride:
                places *= stride
        return places * inner * inputs + inner * outer * torch.Size(kernel).numel() + outer * outputs
