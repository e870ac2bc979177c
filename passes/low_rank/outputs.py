"""What the outputs of a graph lose."""

import torch
from torch import Tensor

from prunus.passes.graph import Graph, inputs, shape
from prunus.passes.quantize.watch import check_samples
from prunus.passes.recovery import Batches
from prunus.passes.trainable import TrainableGraph

# Samples that are compared, and how many run at once.
_SAMPLES, _PORTION = 256, 64


class OutputLoss:
    """Compares graphs with the original on some calibration samples.

    Args:
        original: takes the samples.
        batches: calibration samples.
    """

    def __init__(self, original: Graph, batches: Batches) -> None:
        batch = max(1, shape(inputs(original)[0])[0])
        samples = check_samples(original, batches)
        count = min(max(_SAMPLES, batch), len(samples[0])) // batch * batch
        portion = max(1, _PORTION // batch) * batch
        self._parts = list(zip(*(tensor[:count].split(portion) for tensor in samples), strict=True))
        self._truths = self._outputs(original)

    def of(self, graph: Graph) -> float:
        """Return the mean squared difference of the outputs as a share of their variance.

        Of several outputs the one that loses most counts.
        """
        pairs = zip(self._truths, self._outputs(graph), strict=True)
        return max((_lost(truth, answer) for truth, answer in pairs), default=0.0)

    def _outputs(self, graph: Graph) -> list[Tensor]:
        module = TrainableGraph(graph)
        with torch.no_grad():
            results = [module(*part) for part in self._parts]
        listed = [result if isinstance(result, tuple) else (result,) for result in results]
        return [torch.cat(pieces) for pieces in zip(*listed, strict=True) if pieces[0].is_floating_point()]


def _lost(truth: Tensor, answer: Tensor) -> float:
    difference = (answer.double() - truth.double()).square().mean()
    return float(difference / truth.double().var(correction=0).clamp(min=1e-30))
