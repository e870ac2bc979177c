"""Label-free training: the original model teaches on calibration inputs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.errors import InputError
from prunus.passes.graph import Graph
from prunus.passes.recovery.batches import Batches
from prunus.passes.recovery.batchnorm import recalibrate_batchnorm
from prunus.passes.recovery.divergence import are_probabilities, divergence, logits_of
from prunus.passes.recovery.features import Feature, common_features, exposed
from prunus.passes.trainable import TrainableGraph


@dataclass(frozen=True, kw_only=True)
class Distill:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: samples a step.
        learning_rate: the highest of the cosine schedule; AdamW.
        features: weight of what layers inside compute, beside the outputs, at first; it falls with the learning rate.
        classes: weight of the divergence of softened classes, for outputs (N, classes), logits or probabilities.
        mix: blend half of each batch with other samples, where all inputs are floating point.
        seed: of the order of the samples and of their mixture.
        frozen: statistics of batch norm stay as they are; else they are measured anew before training.
    """

    steps: int = 4500
    batch_size: int = 64
    learning_rate: float = 2e-3
    features: float = 1.0
    classes: float = 0.3
    mix: bool = True
    seed: int = 0
    frozen: bool = False


def distill(
    student: Graph,
    teacher: Graph,
    batches: Batches,
    config: Distill | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """Train the parameters of `student` to compute what `teacher` does, and return `student`.

    The loss is the squared error of the outputs, each divided by the teacher's variance: regression on logits (Ba and
    Caruana 2014, arXiv:1312.6184), which needs no labels and fits outputs of any kind. Outputs (N, classes) are also
    compared as probabilities, by the Kullback-Leibler divergence at a temperature of 2 (Hinton et al. 2015,
    arXiv:1503.02531): what lies between two classes decides, and there the squared error does not look twice. Both
    are least where the outputs are equal. To them comes, at first, the squared error of what layers compute on the
    channels that pruning has left: hints (Romero et al. 2015, arXiv:1412.6550) that need no adapters, since student
    and teacher share the channels. They tell much more of each sample than the outputs do, and without them a few
    thousand samples are learned by heart.

    Half of each batch are blends of two samples, on which the teacher answers too (Beyer et al. 2022,
    arXiv:2106.05237). Dropout is left out: the function is to be met, not regularised. For the same reason batch norms
    are measured anew at first, and then compute as they will when the model is used: statistics of batches, and of
    blends, would be noise.

    Args:
        student: a graph in canonical form.
        teacher: the original, which takes the same inputs.
        batches: calibration samples.
        config: steps, batch size, learning rate, weights, seed.
        progress: called with finished and total steps.

    Raises:
        InputError: the loss is not finite.
    """
    config = config or Distill()
    if not any(parameter.requires_grad for parameter in student.parameters()):
        return student
    if not config.frozen:
        recalibrate_batchnorm(student, batches, batch_size=max(config.batch_size, 256))
    lesson = _Lesson(student, teacher, batches, config)
    generator = torch.Generator().manual_seed(config.seed)
    parameters = [parameter for parameter in lesson.learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=1e-4)
    for step, inputs in enumerate(batches.shuffled(config.batch_size, config.steps, generator)):
        rate = _schedule(step, config.steps)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        loss = lesson.loss(_mixed(inputs, generator) if config.mix else inputs, config.features * rate)
        if not math.isfinite(loss.item()):
            raise InputError(
                f"the loss is {loss.item()} at step {step}", expected="finite numbers",
                do="look for NaN in the calibration samples, or lower learning_rate=",
            )  # fmt: skip
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1, config.steps)
    return student


class _Lesson:
    """Student and teacher side by side."""

    def __init__(self, student: Graph, teacher: Graph, batches: Batches, config: Distill) -> None:
        self.features: list[Feature] = common_features(student, teacher) if config.features > 0 else []
        self.classes = config.classes
        self.learner = TrainableGraph(exposed(student, self.features))
        self.master = TrainableGraph(exposed(teacher, self.features))
        if not (self.learner.any_batch and self.master.any_batch):
            # Some value inside may not have its batch in front.
            self.features = []
            self.learner, self.master = TrainableGraph(exposed(student, [])), TrainableGraph(exposed(teacher, []))
        with torch.no_grad():
            first = next(iter(batches.ordered(max(config.batch_size, 256))))
            truths = self._truths(first)
            self.scales = [max(float(truth.var(correction=0)), 1e-12) for truth in truths]
            self.probabilities = [are_probabilities(truth) for truth in truths]

    def loss(self, inputs: tuple[Tensor, ...], hints: float) -> Tensor:
        """Return the error of the outputs, and `hints` times the mean error of the features."""
        with torch.no_grad():
            truths = self._truths(inputs)
        answers = _floats(self.learner(*inputs))
        pairs = zip(answers, truths, self.scales, strict=True)
        errors = [(answer - truth).square().mean() / scale for answer, truth, scale in pairs]
        results = len(errors) - len(self.features)
        loss = torch.stack(errors[:results]).sum()
        if self.classes > 0:
            for answer, truth, known in zip(answers[:results], truths, self.probabilities, strict=False):
                if answer.dim() == 2:
                    logits = (logits_of(answer), logits_of(truth)) if known else (answer, truth)
                    loss = loss + self.classes * divergence(*logits)
        return loss + hints * torch.stack(errors[results:]).mean() if self.features and hints > 0 else loss

    def _truths(self, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        truths = _floats(self.master(*inputs))
        results = len(truths) - len(self.features)
        known = zip(self.features, truths[results:], strict=True)
        return truths[:results] + [feature.select(truth) for feature, truth in known]


def _mixed(inputs: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Blend the first half of a batch with samples from all of it."""
    if not all(tensor.is_floating_point() for tensor in inputs):
        return inputs
    size = len(inputs[0])
    share = torch.rand(size, generator=generator)
    share[size // 2 :] = 1.0
    other = torch.randperm(size, generator=generator)
    return tuple(
        tensor.lerp(tensor[other], (1 - share).to(tensor.dtype).view(-1, *(1,) * (tensor.dim() - 1)))
        for tensor in inputs
    )


def _schedule(step: int, steps: int) -> float:
    """Warm up over a twentieth of the steps, then fall to zero along a cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _floats(result: Tensor | Sequence[Tensor]) -> list[Tensor]:
    results = [result] if isinstance(result, Tensor) else list(result)
    return [tensor for tensor in results if tensor.is_floating_point()]
