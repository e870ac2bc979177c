"""The runner: passes one after another, graph and numbers checked after each."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prunus.errors import GraphError, PassError, PrunusError
from prunus.passes.check import check
from prunus.passes.dump import show, write_dump
from prunus.passes.graph import Graph, copy_graph
from prunus.passes.numbers import check_inputs, first_difference, largest_error, random_inputs, rounding_noise, run
from prunus.passes.reasons import Reason, collect_reasons

Pass = Callable[[Graph], Graph]
EXACT = 1e-5
# An exact pass that rounds weights anew may move outputs by a few times the rounding error that they had before.
ROUNDING = 8


@dataclass(frozen=True)
class PassRecord:
    """What one pass did, for the report.

    Attributes:
        name: name of the pass.
        ms: time of the pass itself, without the checks.
        nodes_before: calls in the graph before it.
        nodes_after: calls in the graph after it.
        bytes_before: bytes of parameters and buffers before it.
        bytes_after: bytes of parameters and buffers after it.
        max_error: largest difference it made, as a share of the largest output.
        reasons: what its rules said about nodes that they left alone.
    """

    name: str
    ms: float
    nodes_before: int
    nodes_after: int
    bytes_before: int
    bytes_after: int
    max_error: float
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        nodes = f"{self.nodes_before:5d} -> {self.nodes_after:5d} nodes"
        size = f"{self.bytes_before / 1000:10.1f} -> {self.bytes_after / 1000:10.1f} kB"
        return f"{self.name:24} {self.ms:9.1f} ms {nodes} {size}   error {self.max_error:.1e}"


def run_passes(
    graph: Graph,
    passes: Sequence[Pass],
    example_inputs: Sequence[torch.Tensor] | None = None,
    *,
    on_pass: Callable[[PassRecord], None] | None = None,
) -> Graph:
    """Run `passes` in order on a copy of `graph` and return the result.

    After each pass the graph is checked (`passes/check.py`) and run in PyTorch: its outputs may differ from those
    before by 1e-5 of the largest output, or by the pass's own attribute `max_error`. A graph that magnifies rounding
    (its float32 outputs are further than that from float64) may move by 8 times its own rounding error.

    Passes may change the graph that they are given or return another one; tensors are to be replaced, not written
    into. The records of all passes are in `graph.meta["passes"]` of the result.

    The environment: `PRUNUS_DUMP=DIR` writes the graph after each pass, `PRUNUS_DEBUG=1` prints a line for each.

    Args:
        graph: a legal graph in evaluation mode; it stays as it is.
        passes: functions `Graph -> Graph`.
        example_inputs: one tensor for each placeholder; random numbers by default.
        on_pass: called with the record of each pass as it ends.

    Raises:
        GraphError: `graph` itself is not legal.
        InputError: example inputs that do not fit.
        PassError: a pass that raises, returns no graph, or breaks the graph or its numbers.
    """
    check(graph)
    examples = random_inputs(graph) if example_inputs is None else check_inputs(graph, example_inputs)
    original, graph = graph, copy_graph(graph)
    expected = run(graph, examples)
    dump = Path(os.environ["PRUNUS_DUMP"]) if os.environ.get("PRUNUS_DUMP") else None
    text = show(graph) if dump else ""
    if dump:
        write_dump(dump, 0, "import", text, "")
    records: list[PassRecord] = list(graph.meta.get("passes", ()))
    for index, one_pass in enumerate(passes, start=1):
        earlier = passes[: index - 1]
        unchanged = fingerprint(graph)
        # Held, so that no new tensor takes an old one's id.
        tensors = [(name, tensor, _content(tensor)) for name, tensor in _tensors(graph)]
        nodes_before, bytes_before = _nodes(graph), _bytes(graph)
        with collect_reasons() as reasons:
            start = time.perf_counter()
            graph = _apply(one_pass, graph, earlier)
            ms = (time.perf_counter() - start) * 1000
        _check_untouched(one_pass, tensors, earlier)
        error = 0.0
        if fingerprint(graph) != unchanged:
            error, expected = _verify(one_pass, graph, examples, expected, original, earlier)
        del tensors
        record = PassRecord(
            pass_name(one_pass), ms, nodes_before, _nodes(graph), bytes_before, _bytes(graph), error, tuple(reasons)
        )
        records.append(record)
        if dump:
            previous, text = text, show(graph)
            write_dump(dump, index, record.name, text, previous)
        if os.environ.get("PRUNUS_DEBUG", "0") not in ("", "0"):
            print(record, file=sys.stderr)
        if on_pass:
            on_pass(record)
    graph.meta["passes"] = records
    return graph


def pass_name(one_pass: Pass) -> str:
    """Return the name of a pass: that of its function."""
    return str(getattr(one_pass, "__name__", type(one_pass).__name__))


def fingerprint(graph: Graph) -> tuple[Any, ...]:
    """Return a value that is equal for two graphs with the same nodes and the very same tensors, unchanged."""
    nodes = tuple((node.name, node.op, node.target, repr(node.args), repr(node.kwargs)) for node in graph.graph.nodes)
    tensors = tuple((name, id(tensor), _content(tensor)) for name, tensor in _tensors(graph))
    return nodes, tensors


def _apply(one_pass: Pass, graph: Graph, earlier: Sequence[Pass]) -> Graph:
    meta = graph.meta
    try:
        after = one_pass(graph)
    except PrunusError:
        raise
    except Exception as error:
        raise _failed(one_pass, earlier, f"raised {type(error).__name__}: {error}") from error
    if not isinstance(after, Graph):
        raise _failed(
            one_pass, earlier, f"returned {type(after).__name__}",
            expected="the graph (torch.fx.GraphModule)", do="end the pass in `return graph`",
        )  # fmt: skip
    after.meta = {**meta, **after.meta}
    return after


def _check_untouched(
    one_pass: Pass, tensors: Sequence[tuple[str, torch.Tensor, tuple[int, int]]], earlier: Sequence[Pass]
) -> None:
    """Check that a pass has not written into the tensors that it was given: other graphs share them."""
    for name, tensor, content in tensors:
        if _content(tensor) != content:
            raise _failed(
                one_pass, earlier, f"wrote into the tensor {name!r}",
                expected="a new tensor in its place", do=f"store it with set_constant(graph, {name!r}, tensor)",
            )  # fmt: skip


def _verify(
    one_pass: Pass,
    after: Graph,
    examples: Sequence[torch.Tensor],
    expected: list[torch.Tensor],
    original: Graph,
    earlier: Sequence[Pass],
) -> tuple[float, list[torch.Tensor]]:
    """Check the graph that a pass returned and return its error and its outputs.

    `original` went through the passes `earlier` before; going through them again gives the graph to compare with.
    """
    budget = float(getattr(one_pass, "max_error", EXACT))
    try:
        check(after)
        found = run(after, examples)
    except GraphError as broken:
        raise _failed(one_pass, earlier, f"broke the graph: {broken.found}", broken.expected, broken.do) from broken
    except Exception as failure:
        raise _failed(one_pass, earlier, f"made a graph that does not run: {failure}") from failure
    kinds = [[(tuple(tensor.shape), tensor.dtype) for tensor in tensors] for tensors in (expected, found)]
    if kinds[0] != kinds[1]:
        raise _failed(one_pass, earlier, f"changed the outputs to {kinds[1]}", expected=f"{kinds[0]}")
    error = max((largest_error(old, new) for old, new in zip(expected, found, strict=True)), default=0.0)
    if error <= budget:
        return error, found
    before = copy_graph(original)
    for other in earlier:
        before = other(before)
    if error > ROUNDING * rounding_noise(before, examples, expected):
        first = first_difference(before, after, examples, budget)
        where = f"first at node {first[0]!r} (by {first[1]:.1e})" if first else "but no node that both graphs have"
        raise _failed(
            one_pass, earlier, f"changed the outputs by {error:.1e} of the largest, {where}",
            expected=f"at most {budget:.0e}", do="mend the pass, or state its budget with @graph_pass(max_error=...)",
        )  # fmt: skip
    return error, found


def _failed(one_pass: Pass, earlier: Sequence[Pass], found: str, expected: str = "", do: str = "") -> PassError:
    before = f"after {', '.join(map(pass_name, earlier))}" if earlier else "the first to run"
    return PassError(f"pass {pass_name(one_pass)!r} ({before}) {found}", expected=expected, do=do)


def _content(tensor: torch.Tensor) -> tuple[int, int]:
    """Return a value that changes when a tensor is written into."""
    return tensor.data_ptr(), tensor._version


def _tensors(graph: Graph) -> list[tuple[str, torch.Tensor]]:
    return [*graph.named_parameters(), *graph.named_buffers()]


def _bytes(graph: Graph) -> int:
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _tensors(graph))


def _nodes(graph: Graph) -> int:
    return sum(node.op == "call_function" for node in graph.graph.nodes)
