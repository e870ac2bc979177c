"""From a budget to a graph with smaller products: decide for each layer, write, judge, and try less if need be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prunus.compression import LowRank
from prunus.errors import InputError, LowRankError
from prunus.passes.graph import Graph, calls, copy_graph, refresh, set_constant
from prunus.passes.low_rank.absorb import absorb
from prunus.passes.low_rank.choose import Chooser, graph_bytes
from prunus.passes.low_rank.embedding import write_table
from prunus.passes.low_rank.evidence import Evidence, collect
from prunus.passes.low_rank.factors import Factors, write
from prunus.passes.low_rank.layers import Table, find_layers
from prunus.passes.low_rank.outputs import lost_variance
from prunus.passes.low_rank.plan import LayerRow, LowRankPlan
from prunus.passes.prune.latency import EstimatedLatency, LatencyModel
from prunus.passes.prune.pruner import Evaluate, accuracy_of, canonical
from prunus.passes.recovery import Batches
from prunus.passes.split_recurrent import GRU, LSTM, PLAIN, split_recurrent
from prunus.targets import Target, load_target

_DEFAULT_ERROR = 0.02
# How often errors are halved before the graph stays as it is.
_HALVINGS = 6
# Errors that are tried for a budget of bytes; the smallest that reaches it is taken.
_ERRORS = tuple(10 ** (-4 + 4 * step / 64) for step in range(64))


def low_rank(
    graph: Graph,
    config: LowRank | None = None,
    *,
    calibration: Sequence[Any] | None = None,
    target: str | Path | Target = "native",
    evaluate: Evaluate | None = None,
    max_drop: float = 0.01,
    fine_tune: Callable[[Graph], None] | None = None,
    latency: LatencyModel | None = None,
) -> Graph:
    """Return a graph in which products of smaller matrices stand where that saves time or bytes.

    before:  linear(x, W) + b,  W (O, I)
    after:   linear(linear(x, V), U) + b',  V (r, I), U (O, r)

    The result can be trained, pruned, quantised and exported; its `meta["low_rank"]` is the `LowRankPlan`.

    Args:
        graph: any imported float32 graph; it stays as it is, its parameters too.
        config: what to save and what may be lost; by default time, and 0.02 of the variance of each layer's outputs.
        calibration: batches of inputs without labels, samples along dimension 0. With them an error is one of outputs
            on these samples; without, one of weights.
        target: whose vectors ranks suit, and whose time counts.
        evaluate: takes a function that runs a graph and returns an accuracy, higher is better.
        max_drop: how much of the accuracy may be lost; errors are halved until it holds.
        fine_tune: trains the graph in place before it is evaluated.
        latency: tells the time of a graph; by default the planner's estimate for `target`.

    Raises:
        LowRankError: bytes that cannot be reached (the message says which can), or a wrong request.
        InputError: calibration samples that do not fit, or none where a total error is asked for.
        PruneError: an `evaluate` that raises or returns no number.
    """
    config = config or LowRank()
    machine = load_target(target)
    search = _Search(canonical(graph), config, calibration, machine, latency or EstimatedLatency(machine))
    error = search.first_error()
    baseline = accuracy_of(evaluate, search.original) if evaluate else 0.0
    notes: list[str] = []
    for _ in range(_HALVINGS):
        result = search.at(error)
        plan: LowRankPlan = result.meta["low_rank"]
        if not plan.factorised:
            return _with_notes(result, notes)
        broken = ""
        if config.max_total_error is not None and (plan.total_error or 0.0) > config.max_total_error:
            broken = f"outputs lose {plan.total_error:.4f}, at most {config.max_total_error:g} wanted"
        elif evaluate:
            if fine_tune:
                fine_tune(result)
            found = accuracy_of(evaluate, result)
            if not found >= baseline - max_drop:
                broken = f"accuracy {found:.4f}, at least {baseline - max_drop:.4f} wanted"
        elif fine_tune:
            fine_tune(result)
        if not broken:
            return _with_notes(result, notes)
        notes.append(f"an error of {error:.3g} for each layer taken back: {broken}")
        error /= 2
    return _with_notes(search.at(0.0), notes)


def _with_notes(graph: Graph, notes: list[str]) -> Graph:
    graph.meta["low_rank"] = replace(graph.meta["low_rank"], notes=tuple(notes))
    return graph


@dataclass(frozen=True)
class _Choice:
    """Factors by name of the layer, and what became of all layers."""

    factors: Mapping[str, Factors]
    rows: tuple[LayerRow, ...]


class _Search:
    """The original graph, and what is known of its layers."""

    def __init__(
        self,
        graph: Graph,
        config: LowRank,
        calibration: Sequence[Any] | None,
        target: Target,
        latency: LatencyModel,
    ) -> None:
        self.original, self.config, self.latency = graph, config, latency
        self.graph = _without_networks(graph)
        self.layers, self.tables, self.refused = find_layers(self.graph, config.keep)
        self.batches = None if calibration is None else Batches(calibration)
        if self.batches is None and config.max_total_error is not None:
            raise InputError(
                "max_total_error= is measured on calibration inputs, and there are none",
                expected="batches of inputs, without labels", do="pass calibration=[x, ...]",
            )  # fmt: skip
        evidence: Mapping[str, Evidence] = {}
        if self.batches is not None:
            evidence = collect(self.graph, self.layers, self.tables, self.batches)
        self.chooser = Chooser(config, evidence, latency, config.multiple_of or target.lanes())
        self.bytes, self.ms = graph_bytes(graph), latency.latency_ms(graph)

    def first_error(self) -> float:
        """Return the error that the budget stands for.

        Raises:
            LowRankError: bytes that no error reaches.
        """
        if self.config.bytes is None:
            return _DEFAULT_ERROR if self.config.max_error is None else self.config.max_error
        low, high = 0, len(_ERRORS)
        while low < high:
            middle = (low + high) // 2
            reached = graph_bytes(self._write(self._choose(_ERRORS[middle]))) <= self.config.bytes * self.bytes
            low, high = (low, middle) if reached else (middle + 1, high)
        if low < len(_ERRORS):
            return _ERRORS[low]
        least = graph_bytes(self._write(self._choose(_ERRORS[-1]))) / self.bytes
        raise LowRankError(
            f"bytes={self.config.bytes:g} cannot be reached: the smallest value is {least:.3f}",
            expected=f"bytes={least:.3f} or more",
            do='ask for less, lower multiple_of=, write save="bytes", or take patterns out of keep=',
        )

    def at(self, error: float) -> Graph:
        """Return the graph in which each layer loses at most `error`."""
        choice = self._choose(error)
        result = self._write(choice) if choice.factors else _owned(self.original)
        result.meta["low_rank"] = LowRankPlan(
            rows=choice.rows,
            save=self.config.save,
            max_error=error,
            bytes_before=self.bytes,
            bytes_after=graph_bytes(result),
            ms_before=self.ms,
            ms_after=self.latency.latency_ms(result),
            total_error=None if self.batches is None else lost_variance(self.original, result, self.batches),
        )
        return result

    def _choose(self, error: float) -> _Choice:
        rows = {one.name: LayerRow(one.name, one.weight, bytes_before=one.bytes, bytes_after=one.bytes, why=one.why)
                for one in self.refused}  # fmt: skip
        factors: dict[str, Factors] = {}
        for layer in self.layers:
            rows[layer.name], found = self.chooser.layer(layer, error)
            if found is not None:
                factors[layer.name] = found
        for table in self.tables:
            rows[table.name], found = self._table(table, error)
            if found is not None:
                factors[table.name] = found
        order = [node.name for node in calls(self.graph) if node.name in rows]
        return _Choice(factors, tuple(rows[name] for name in order))

    def _table(self, table: Table, error: float) -> tuple[LayerRow, Factors | None]:
        """Decide on a table by the time of the whole graph: what follows may take its product in."""
        row, factors = self.chooser.table(table, error, self.ms)
        if factors is None:
            return row, None
        alone = self._write(_Choice({table.name: factors}, ()))
        row = replace(row, ms_after=self.latency.latency_ms(alone))
        why = self.chooser.too_little(row)
        return (replace(row, method="", bytes_after=row.bytes_before, why=why), None) if why else (row, factors)

    def _write(self, choice: _Choice) -> Graph:
        """Return a graph of its own with the factors in place."""
        result = _owned(self.graph)
        nodes = {node.name: node for node in calls(result)}
        tables = {table.name for table in self.tables}
        products = []
        for name, factors in choice.factors.items():
            if name in tables:
                products.append(write_table(result, nodes[name], factors))
            else:
                write(result, nodes[name], factors)
        refresh(result)
        for product in products:
            absorb(result, product)
        return result


def _without_networks(graph: Graph) -> Graph:
    """Return the graph with recurrent networks as layers, whose products with inputs are linear layers."""
    split = copy_graph(graph)
    return split_recurrent(split) if any(calls(split, GRU, LSTM, *PLAIN)) else split


def _owned(graph: Graph) -> Graph:
    """Return a copy whose tensors are its own."""
    copy = copy_graph(graph)
    copies: dict[int, torch.Tensor] = {}
    for name, tensor in [*graph.named_parameters(remove_duplicate=False), *graph.named_buffers(remove_duplicate=False)]:
        if id(tensor) not in copies:
            held = tensor.detach().clone()
            trained = isinstance(tensor, torch.nn.Parameter)
            copies[id(tensor)] = torch.nn.Parameter(held, requires_grad=tensor.requires_grad) if trained else held
        set_constant(copy, name, copies[id(tensor)])
    return copy
