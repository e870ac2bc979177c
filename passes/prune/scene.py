"""What measures of importance look at: a graph, its weights, and what happens in it on calibration inputs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from prunus.passes.graph import get_constant, inputs
from prunus.passes.prune.rules.registry import Role
from prunus.passes.prune.trace import Trace

Loss = Callable[[Sequence[Tensor], int], Tensor]
"""Takes the outputs of the graph and the number of the calibration batch, and returns a number to keep unchanged."""


def output_change(outputs: Sequence[Tensor], batch: int) -> Tensor:
    """Return the outputs along a random direction, another one for each batch: needs no labels.

    The mean square of its change over directions is the square of the outputs' change.
    """
    generator = torch.Generator().manual_seed(batch)
    total = torch.zeros(())
    for output in outputs:
        if output.is_floating_point():
            total = total + (output * torch.randn(output.shape, generator=generator).to(output)).sum()
    return total


@dataclass(frozen=True)
class Observation:
    """What happens in a graph on one batch.

    Attributes:
        values: what layers read, by name of the node.
        of_values: gradients of the loss by those values.
        of_parameters: gradients by parameters, by identity of the tensor.
    """

    values: dict[str, Tensor]
    of_values: dict[str, Tensor] = field(default_factory=dict)
    of_parameters: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """What measures look at.

    Attributes:
        trace: of the graph as it is now.
        batches: calibration inputs, a tuple of tensors each.
        loss: for measures that take gradients.
        seed: of random numbers.
    """

    trace: Trace
    batches: Sequence[tuple[Tensor, ...]] = ()
    loss: Loss = output_change
    seed: int = 0
    _seen: dict[tuple[int, bool], Observation] = field(default_factory=dict, repr=False)

    def tensor(self, role: Role) -> Tensor:
        """Return the parameter of a role."""
        tensor = get_constant(self.trace.graph, self._nodes[role.parameter])
        assert tensor is not None
        return tensor

    def sample_dim(self, name: str) -> int | None:
        """Return the dimension of a value along which the samples of a batch lie, None if there is none."""
        (first, *_) = inputs(self.trace.graph)
        lead = self.trace.of(first)
        for dim, labels in enumerate(self.trace.of(name)):
            if lead and np.array_equal(labels, lead[0]):
                return dim
        return None

    @property
    def samples(self) -> int:
        """Samples in one batch."""
        (first, *_) = inputs(self.trace.graph)
        lead = self.trace.of(first)
        return len(lead[0]) if lead else 1

    def observe(self, batch: int, *, gradients: bool) -> Observation:
        """Run one batch; only what the last one left is held."""
        if (batch, gradients) not in self._seen:
            self._seen.clear()
            self._seen[batch, gradients] = self._differentiate(batch) if gradients else self._run(batch)
        return self._seen[batch, gradients]

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self.trace.graph.graph.nodes}

    def _run(self, batch: int) -> Observation:
        recorder = _Recorder(self.trace)
        with torch.no_grad():
            recorder.run(*self.batches[batch])
        return Observation(recorder.values)

    def _differentiate(self, batch: int) -> Observation:
        parameters = list({id(self.tensor(role)): self.tensor(role) for role in self.trace.roles}.values())
        recorder = _Recorder(self.trace)
        with _trainable(parameters), torch.enable_grad():
            loss = self.loss(recorder.run(*self.batches[batch]), batch)
            values = {name: one for name, one in recorder.values.items() if one.requires_grad}
            wanted = [*values.values(), *(one for one in parameters if one.requires_grad)]
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
        given = {id(tensor): gradient for tensor, gradient in zip(wanted, found, strict=True) if gradient is not None}
        return Observation(
            {name: one.detach() for name, one in values.items()},
            {name: given[id(one)] for name, one in values.items() if id(one) in given},
            {id(one): given[id(one)] for one in parameters if id(one) in given},
        )


class _Recorder(Interpreter):
    """Keeps the values that layers read."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.graph)
        self.extra_traceback = False
        self._wanted = {role.reads[0] for role in trace.roles if role.reads}
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.name in self._wanted and isinstance(result, Tensor) and result.is_floating_point():
            self.values[n.name] = result
        return result


@contextmanager
def _trainable(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Give buffers and frozen parameters gradients for a while: what does not train matters all the same."""
    before = [tensor.requires_grad for tensor in parameters]
    try:
        for tensor in parameters:
            tensor.requires_grad_(tensor.is_floating_point())
        yield
    finally:
        for tensor, trained in zip(parameters, before, strict=True):
            tensor.requires_grad_(trained)
