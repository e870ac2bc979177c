"""What the outputs of a graph lose."""

import torch
from torch import Tensor

from prunus.passes.graph import Graph, inputs, shape
from prunus.passes.quantize.watch import check_samples
from prunus.passes.recovery import Batches
from prunus.passes.trainable import TrainableGraph

# Samples that are compared, and how many run at once.
_SAMPLES, _PORTION = 512, 64


def lost_variance(original: Graph, changed: Graph, batches: Batches) -> float:
    """Return the mean squared difference of the outputs on some samples as a share of their variance.

    Of several outputs the one that loses most counts.
    """
    batch = max(1, shape(inputs(original)[0])[0])
    samples = check_samples(original, batches)
    count = min(_SAMPLES, len(samples[0])) // batch * batch
    portion = max(1, _PORTION // batch) * batch
    parts = list(zip(*(tensor[:count].split(portion) for tensor in samples), strict=True))
    before, after = TrainableGraph(original), TrainableGraph(changed)
    with torch.no_grad():
        pairs = [(_floats(before(*part)), _floats(after(*part))) for part in parts]
    truths = [torch.cat(pieces).double() for pieces in zip(*(truth for truth, _ in pairs), strict=True)]
    answers = [torch.cat(pieces).double() for pieces in zip(*(answer for _, answer in pairs), strict=True)]
    return max(
        (
            float((answer - truth).square().mean() / truth.var(correction=0).clamp(min=1e-30))
            for truth, answer in zip(truths, answers, strict=True)
        ),
        default=0.0,
    )


def _floats(result: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    results = [result] if isinstance(result, Tensor) else list(result)
    return [tensor for tensor in results if tensor.is_floating_point()]
