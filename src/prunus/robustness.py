"""What a model does on inputs that are not quite those it was made for.

Noise, blur and brightness are the mild corruptions of Hendrycks and Dietterich (2019, arXiv:1903.12261, section 3), in
units of the inputs' own deviation, so that they mean the same for pictures and for sound. FGSM (Goodfellow, Shlens and
Szegedy 2015, arXiv:1412.6572, section 4) steps along the sign of the gradient that moves the original model's own
answer most; the same inputs then judge the original and what became of it, which need not have gradients.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from prunus.passes.trainable import TrainableGraph

if TYPE_CHECKING:
    from prunus.passes.graph import Graph

Perturbation = Callable[..., tuple[Tensor, ...]]
"""Takes the tensors of a batch and returns as many."""

NOISE, BRIGHTNESS, STEP = 0.1, 0.2, 0.02
"""In deviations of the inputs."""


def perturbations(original: "Graph") -> dict[str, Perturbation]:
    """Return the perturbations that suit a model's inputs, by name; each gives the same result every time."""
    return {"noise": _noise, "blur": _blur, "brightness": _brightness, "fgsm": _Fgsm(original)}


def _floats(change: Callable[[Tensor], Tensor], tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Change the float tensors: word numbers and masks stay as they are."""
    return tuple(change(tensor) if tensor.is_floating_point() else tensor for tensor in tensors)


def _deviation(tensor: Tensor) -> Tensor:
    return tensor.std(correction=0)


def _noise(*tensors: Tensor) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)

    def change(tensor: Tensor) -> Tensor:
        return tensor + NOISE * _deviation(tensor) * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)

    return _floats(change, tensors)


def _blur(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Average 3x3 neighbourhoods of pictures (and of spectrograms), with edges repeated."""

    def change(tensor: Tensor) -> Tensor:
        if tensor.dim() != 4:
            return tensor
        padded = functional.pad(tensor, (1, 1, 1, 1), mode="replicate")
        return functional.avg_pool2d(padded, 3, stride=1)

    return _floats(change, tensors)


def _brightness(*tensors: Tensor) -> tuple[Tensor, ...]:
    return _floats(lambda tensor: tensor + BRIGHTNESS * _deviation(tensor), tensors)


class _Fgsm:
    """One step along the sign of the gradient of the original's own loss."""

    def __init__(self, original: "Graph") -> None:
        self._model = TrainableGraph(original)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaves = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
            floats = [leaf for leaf in leaves if leaf.requires_grad]
            if not floats:
                return tensors
            result = self._model(*leaves)
            outputs = [result] if isinstance(result, Tensor) else list(result)
            gradients = torch.autograd.grad(_loss(outputs), floats, allow_unused=True)
        found = iter(gradients)

        def change(tensor: Tensor) -> Tensor:
            gradient = next(found)
            return tensor if gradient is None else tensor + STEP * _deviation(tensor) * gradient.sign()

        return _floats(change, tensors)


def _loss(outputs: list[Tensor]) -> Tensor:
    """Return how far the outputs are from the model's own answer: cross-entropy for scores of classes.

    Outputs that are no scores move away from themselves along the direction in which they point.
    """
    first = next(output for output in outputs if output.is_floating_point())
    if first.dim() == 2 and first.shape[1] > 1:
        return functional.cross_entropy(first, first.detach().argmax(1), reduction="sum")
    return -(first * first.detach().sign()).sum()
