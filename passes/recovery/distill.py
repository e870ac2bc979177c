"""Label-free training: the original model teaches on calibration inputs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from prunus.errors import InputError
from prunus.passes.graph import Graph
from prunus.passes.recovery.batches import Batches
from prunus.passes.recovery.batchnorm import recalibrate_batchnorm
from prunus.passes.trainable import TrainableGraph


@dataclass(frozen=True, kw_only=True)
class Distill:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: samples a step.
        learning_rate: the highest of the cosine schedule; AdamW.
        seed: of the order of the samples and of dropout.
        frozen: batch norm and dropout stay in evaluation mode, and statistics as they are.
    """

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 2e-3
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
    """Train the parameters of `student` to give the outputs of `teacher`, and return `student`.

    The loss is the squared error of the outputs, each divided by the teacher's variance: regression on logits (Ba and
    Caruana 2014, arXiv:1312.6184), which needs no labels and no choice of a temperature. The batch norms of the student
    train along and are measured anew at the end.

    Args:
        student: a graph in canonical form.
        teacher: the original, which takes the same inputs.
        batches: calibration samples.
        config: steps, batch size, learning rate, seed.
        progress: called with finished and total steps.

    Raises:
        InputError: the loss is not finite.
    """
    config = config or Distill()
    generator = torch.Generator().manual_seed(config.seed)
    learner, master = TrainableGraph(student), TrainableGraph(teacher)
    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    if not parameters:
        return student
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=1e-4)
    scales = _variances(master, batches, config.batch_size)
    learner.train(learner.any_batch and not config.frozen)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for step, inputs in enumerate(batches.shuffled(config.batch_size, config.steps, generator)):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config.steps)
            with torch.no_grad():
                truths = _floats(master(*inputs))
            answers = _floats(learner(*inputs))
            errors = [(a - t).square().mean() / s for a, t, s in zip(answers, truths, scales, strict=True)]
            loss = torch.stack(errors).sum()
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
    learner.train(False)
    if config.frozen:
        return student
    return recalibrate_batchnorm(student, batches, batch_size=max(config.batch_size, 256))


def _schedule(step: int, steps: int) -> float:
    """Warm up over a twentieth of the steps, then fall to zero along a cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _floats(result: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    results = [result] if isinstance(result, torch.Tensor) else list(result)
    return [tensor for tensor in results if tensor.is_floating_point()]


def _variances(teacher: TrainableGraph, batches: Batches, size: int) -> list[float]:
    """Return the variance of each output over some calibration samples, at least a tiny number."""
    with torch.no_grad():
        first = next(iter(batches.ordered(max(size, 256))))
        return [max(float(output.var(correction=0)), 1e-12) for output in _floats(teacher(*first))]
