"""Running graphs in PyTorch to compare their numbers."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Interpreter, Node

from prunus.errors import GraphError, InputError
from prunus.passes.graph import Graph, inputs, shape, value

SEED = 0
_DRAWS = 4


def random_inputs(graph: Graph, seed: int = SEED) -> tuple[torch.Tensor, ...]:
    """Draw one tensor for each placeholder: normal numbers, integers 0 and 1 (they may index a small table)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for node in inputs(graph):
        dtype = value(node).dtype
        if dtype.is_floating_point:
            drawn.append(torch.randn(shape(node), generator=generator).to(dtype))
        else:
            drawn.append(torch.randint(0, 2, shape(node), generator=generator).to(dtype))
    return tuple(drawn)


def check_inputs(graph: Graph, example_inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return the example inputs as a tuple.

    Raises:
        InputError: number, shape or dtype are not those of the placeholders.
    """
    wanted = [(node.name, shape(node), value(node).dtype) for node in inputs(graph)]
    given = [(tuple(tensor.shape), tensor.dtype) for tensor in example_inputs]
    if given != [(sizes, dtype) for _, sizes, dtype in wanted]:
        found = ", ".join(f"{dtype}{list(sizes)}" for sizes, dtype in given)
        raise InputError(
            f"example inputs do not fit the graph: found {found}",
            expected=", ".join(f"{name}: {dtype}{list(sizes)}" for name, sizes, dtype in wanted),
            do="pass one tensor for each input, in order",
        )
    return tuple(example_inputs)


class Values(Interpreter):
    """Runs a graph and checks every result against its description; with `keep`, also keeps the results by name."""

    def __init__(self, graph: Graph, keep: bool = False) -> None:
        super().__init__(graph)
        self.keep = keep
        self.extra_traceback = False
        self.by_name: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            described = value(n)
            if (result.shape, result.dtype) != (described.shape, described.dtype):
                raise GraphError(
                    f"node {n.name!r} computes {result.dtype}{list(result.shape)}",
                    expected=f"{described.dtype}{list(described.shape)}, as its meta['val'] says",
                    do="return `refresh(graph)` from passes that change shapes",
                )
            if self.keep:
                self.by_name[n.name] = result
        return result


def run(graph: Graph, example_inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the outputs of the graph."""
    with torch.no_grad():
        return list(Values(graph).run(*example_inputs))


def largest_error(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return the largest difference as a share of the largest number in `before`.

    Positions where both hold the same infinity, or both NaN, are equal; where only one is finite the error is infinite.
    """
    if before.numel() == 0:
        return 0.0
    expected, found = before.detach().double(), after.detach().double()
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(found)):
        return math.inf
    if not torch.equal(expected[~finite].nan_to_num(), found[~finite].nan_to_num()):
        return math.inf
    if not bool(finite.any()):
        return 0.0
    difference = float((expected[finite] - found[finite]).abs().max())
    scale = float(expected[finite].abs().max())
    return difference / scale if scale > 0 else difference


def rounding_noise(graph: Graph, example_inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> float:
    """Return how far rounding to float32 moves `outputs`, as a share of the largest.

    The largest of several draws, for where a graph jumps, one may be lucky: the outputs against those of the same graph
    in float64 (not where its operators name float32), and against those of copies whose inputs and weights are moved by
    about one unit in the last place.
    """
    runs = [*_in_double(graph, example_inputs), *(_nudged(graph, example_inputs, seed) for seed in range(_DRAWS))]
    return max(
        (largest_error(exact, found) for run in runs for exact, found in zip(run, outputs, strict=True)), default=0.0
    )


def _in_double(graph: Graph, example_inputs: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Return the outputs in float64: one run, or none where there is no such."""
    exact = copy.deepcopy(graph).double()
    inputs = [tensor.double() if tensor.is_floating_point() else tensor for tensor in example_inputs]
    try:
        with torch.no_grad():
            return [list(exact(*inputs))]
    except RuntimeError:  # operators that name float32
        return []


def _nudged(graph: Graph, example_inputs: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Return the outputs after moving floating inputs and weights by normal numbers times their rounding unit."""
    generator = torch.Generator().manual_seed(seed)

    def nudge(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        unit = torch.finfo(tensor.dtype).eps / 2
        return tensor * (1 + unit * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)

    moved = copy.deepcopy(graph)
    with torch.no_grad():
        for tensor in (*moved.parameters(), *moved.buffers()):
            tensor.copy_(nudge(tensor))
        return list(moved(*map(nudge, example_inputs)))


def first_difference(
    before: Graph, after: Graph, example_inputs: Sequence[torch.Tensor], max_error: float
) -> tuple[str, float] | None:
    """Return name and error of the first node of `after` that differs from the node of that name in `before`."""
    old, new = Values(before, keep=True), Values(after, keep=True)
    with torch.no_grad():
        old.run(*example_inputs)
        new.run(*example_inputs)
    for name, result in new.by_name.items():
        other = old.by_name.get(name)
        if other is None or other.shape != result.shape:
            continue
        error = largest_error(other, result)
        if error > max_error:
            return name, error
    return None
