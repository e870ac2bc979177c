"""What a user's measure of accuracy says of a graph."""

from collections.abc import Callable
from typing import Any

import torch

from prunus.errors import PruneError
from prunus.passes.graph import Graph
from prunus.passes.trainable import TrainableGraph

Evaluate = Callable[[Callable[..., Any]], float]
"""Takes `run`, which takes and returns tensors with any number of samples along dimension 0; higher is better."""

# Two evaluations of one graph may differ by this share of what may be lost.
_NOISE = 0.1


def accuracy_of(evaluate: Evaluate, graph: Graph) -> float:
    """Return what a user's function says of a graph; it may run any number of samples at once.

    Raises:
        PruneError: it raises, or returns NaN.
    """
    module = TrainableGraph(graph)

    def run(*tensors: torch.Tensor) -> Any:
        with torch.no_grad():
            return module(*tensors)

    try:
        accuracy = float(evaluate(run))
    except Exception as error:
        raise PruneError(f"evaluate raised {type(error).__name__}: {error}", expected="a number") from error
    if accuracy != accuracy:
        raise PruneError("evaluate returned NaN", expected="a number", do="look at the model's outputs")
    return accuracy


def baseline(evaluate: Evaluate, graph: Graph, max_drop: float) -> float:
    """Return the accuracy of the original, asked twice.

    Raises:
        PruneError: the answers differ by so much that they cannot tell what a step costs.
    """
    first, second = accuracy_of(evaluate, graph), accuracy_of(evaluate, graph)
    if abs(first - second) > max(_NOISE * max_drop, 1e-9):
        raise PruneError(
            f"evaluate returned {first:g} and {second:g} for the same graph", expected="the same number twice",
            do="judge on the same samples every time, in the same order, with fixed seeds",
        )  # fmt: skip
    return first


def refusal(evaluate: Evaluate, graph: Graph, least: float) -> str | None:
    """Return why a graph breaks the contract, None if it holds: an `evaluate` that fails is no reason to lose a run."""
    try:
        found = accuracy_of(evaluate, graph)
    except PruneError as error:
        return error.found
    return None if found >= least else f"accuracy {found:.4f}, at least {least:.4f} wanted"
