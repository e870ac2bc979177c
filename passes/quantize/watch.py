"""Run calibration samples through a graph and look at values on the way."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from prunus.errors import InputError
from prunus.passes.graph import Graph, inputs, shape, value
from prunus.passes.recovery import Batches
from prunus.passes.trainable import open_batch

PORTION = 64
"""Samples that run at once where the graph allows any number."""

See = Callable[[str, Tensor], None]


class Watch(Interpreter):
    """Runs a graph and hands the results of some nodes, by name, to a function."""

    def __init__(self, graph: Graph, names: Iterable[str], see: See) -> None:
        super().__init__(graph)
        self.extra_traceback = False
        self._names, self._see = frozenset(names), see

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.name in self._names:
            self._see(n.name, result)
        return result


def watch(graph: Graph, batches: Batches, names: Iterable[str], see: See) -> None:
    """Run all samples without gradients; `see(name, result)` is called for the nodes called `names`.

    Raises:
        InputError: samples that do not fit the graph's inputs, or too few to fill its batch.
    """
    watch_together([(graph, names, see)], batches)


def watch_together(watched: Sequence[tuple[Graph, Iterable[str], See]], batches: Batches) -> None:
    """Run graphs of the same inputs in turns, one portion of the samples after the other, each as `watch` does.

    All see the same portions.
    """
    graphs = [graph for graph, _, _ in watched]
    tensors, size = check_samples(graphs[0], batches), shape(inputs(graphs[0])[0])[0]
    opened = [graph for graph in map(open_batch, graphs) if graph is not None]
    together = len(opened) == len(graphs)
    runners = [
        Watch(graph, names, see) for graph, (_, names, see) in zip(opened if together else graphs, watched, strict=True)
    ]
    with torch.no_grad():
        for portion in _portions(tensors, PORTION if together else size, whole=not together):
            for runner in runners:
                runner.run(*portion)


def check_samples(graph: Graph, batches: Batches) -> tuple[Tensor, ...]:
    """Return the samples as tensors of the inputs' dtypes; integers may come narrower, as files of tokens have them.

    Raises:
        InputError: shapes or dtypes that are not those of the inputs.
    """
    wanted = [(shape(node)[1:], value(node).dtype) for node in inputs(graph)]
    given = [(tuple(tensor.shape[1:]), tensor.dtype) for tensor in batches.tensors]
    fits = len(wanted) == len(given) and all(
        ours == theirs and (a == b or not (a.is_floating_point or b.is_floating_point))
        for (ours, a), (theirs, b) in zip(wanted, given, strict=True)
    )
    if not fits or len(batches) < shape(inputs(graph)[0])[0]:
        found = ", ".join(f"{tensor.dtype}{list(tensor.shape)}" for tensor in batches.tensors)
        raise InputError(
            f"the calibration samples do not fit the graph: found {found}",
            expected=", ".join(f"{node.name}: {value(node).dtype}{list(shape(node))}" for node in inputs(graph)),
            do="pass one tensor for each input, with at least one batch of samples along dimension 0",
        )
    return tuple(tensor.to(dtype) for tensor, (_, dtype) in zip(batches.tensors, wanted, strict=True))


def _portions(tensors: tuple[Tensor, ...], size: int, whole: bool) -> Iterator[tuple[Tensor, ...]]:
    """Cut the samples; with `whole`, a rest that fills no portion is left out."""
    for parts in zip(*(tensor.split(size) for tensor in tensors), strict=True):
        if not whole or len(parts[0]) == size:
            yield parts
