"""The network as a whole, before and after tuning: what is faster alone need not be so among others."""

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from prunus.artifact import Artifact
from prunus.backends.codegen.compile import compile_kernels
from prunus.backends.kernels.family import Family, Match
from prunus.backends.plan.knobs import Choice, KnobChooser
from prunus.backends.plan.planner import plan
from prunus.backends.tune.task import random_numbers
from prunus.passes.graph import Graph
from prunus.targets import Target

_SECONDS, _LEAST_ROUNDS = 3.0, 20
Kernel = tuple[str, Any]
"""Family and problem."""


@dataclass(frozen=True)
class Comparison:
    """Times before divided by times after, medians: of the network, and of each kernel over all its steps."""

    gain: float
    gains: Mapping[Kernel, float]


def compare(graph: Graph, target: Target, before: Mapping[Kernel, Any], after: KnobChooser) -> Comparison:
    """Build both libraries and run them in turns on random inputs, step by step.

    Args:
        before: knob of each kernel.
        after: chooses the others.
    """

    def as_before(family: Family, match: Match, target: Target) -> Choice:
        return Choice(before[family.name, match.problem])

    artifacts = []
    for chooser in (as_before, after):
        program = plan(graph, name="tuned", target=target, knobs=chooser)
        artifacts.append(Artifact.build(program, compile_kernels((s.kernel for s in program.steps), target)))
    inputs = [
        random_numbers(prod(tensor.shape), tensor.dtype, seed).reshape(tensor.shape)
        for seed, tensor in enumerate(artifacts[0].program.inputs)
    ]
    rounds: tuple[list[list[int]], list[list[int]]] = ([], [])
    until = time.monotonic() + _SECONDS
    while len(rounds[0]) < _LEAST_ROUNDS or time.monotonic() < until:
        for artifact, times in zip(artifacts, rounds, strict=True):
            times.append(artifact.profile(*inputs))
    medians = [[statistics.median(step) for step in zip(*times, strict=True)] for times in rounds]
    sums: dict[Kernel, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for step, *pair in zip(artifacts[0].program.steps, *medians, strict=True):
        for which in (0, 1):
            sums[step.kernel.family, step.kernel.problem][which] += pair[which]
    totals = [statistics.median(map(sum, times)) for times in rounds]
    return Comparison(totals[0] / totals[1], {kernel: pair[0] / pair[1] for kernel, pair in sums.items()})
