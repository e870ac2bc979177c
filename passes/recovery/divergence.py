"""How far the classes that a student sees are from those of its teacher."""

import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 2.0


def divergence(answer: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over samples of KL(truth | answer), both softened (Hinton et al. 2015, arXiv:1503.02531).

    Args:
        answer, truth: (N, classes) logits. The result is scaled so that gradients are as large as at temperature 1.
    """
    ours, theirs = ((logits / TEMPERATURE).log_softmax(1) for logits in (answer, truth))
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * TEMPERATURE**2


def are_probabilities(output: Tensor) -> bool:
    """Tell whether rows (N, classes) are what softmax returns."""
    return output.dim() == 2 and bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 1e-3).all())


def logits_of(probabilities: Tensor) -> Tensor:
    """Return logits whose softmax is `probabilities`, which count as 1e-8 at least."""
    return probabilities.clamp_min(1e-8).log()
