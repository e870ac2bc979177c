"""From a budget to a graph with smaller products: decide for each layer, write, judge, and try less if need be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from prunus.compression import LowRank
from prunus.errors import InputError, LowRankError
from prunus.passes.canonical import canonical
from prunus.passes.evaluation import Evaluate, baseline, refusal
from prunus.passes.graph import Graph, calls, copy_graph, refresh, set_constant
from prunus.passes.latency import EstimatedLatency, LatencyModel
from prunus.passes.low_rank.absorb import absorb
from prunus.passes.low_rank.choose import Chooser, Limit, graph_bytes
from prunus.passes.low_rank.embedding import write_table
from prunus.passes.low_rank.evidence import Collected, collect
from prunus.passes.low_rank.factors import Factors, write
from prunus.passes.low_rank.layers import Layer, Table, find_layers
from prunus.passes.low_rank.outputs import OutputLoss
from prunus.passes.low_rank.plan import LayerRow, LowRankPlan
from prunus.passes.recovery import Batches
from prunus.passes.split_recurrent import GRU, LSTM, PLAIN, split_recurrent
from prunus.targets import Target, load_target

_DEFAULT_ERROR = 0.02
# How often a limit is lowered before the graph stays as it is.
_ATTEMPTS = 6
# Prices of a byte that are tried for a budget of bytes; the smallest that reaches it is taken.
_PRICES = tuple(1e-12 * 2 ** (step / 4) for step in range(160))
# Ranks fill vectors; with lanes of more than these, halves of them are good enough.
_MULTIPLE = 8
# The error near which sensitivities are measured.
_PROBE = 0.1


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
        max_drop: how much of the accuracy may be lost; less is done until it holds.
        fine_tune: trains the graph in place before it is evaluated.
        latency: tells the time of a graph; by default the planner's estimate for `target`.

    Raises:
        LowRankError: bytes that cannot be reached (the message says which can), or a wrong request.
        InputError: calibration samples that do not fit, or none where a total error is asked for.
        PruneError: an `evaluate` that raises, returns no number or another one each time for the original.
    """
    config = config or LowRank()
    machine = load_target(target)
    search = _Search(canonical(graph), config, calibration, machine, latency or EstimatedLatency(machine))
    limit = search.first_limit()
    least = baseline(evaluate, search.original, max_drop) - max_drop if evaluate else 0.0
    notes: list[str] = []
    for _ in range(_ATTEMPTS):
        result = search.at(limit)
        plan: LowRankPlan = result.meta["low_rank"]
        if not plan.factorised:
            return _with_notes(result, notes)
        broken = ""
        if config.max_total_error is not None and (plan.total_error or 0.0) > config.max_total_error:
            broken = f"outputs lose {plan.total_error:.4f}, at most {config.max_total_error:g} wanted"
        else:
            if fine_tune:
                fine_tune(result)
            broken = (refusal(evaluate, result, least) or "") if evaluate else ""
        if not broken:
            return _with_notes(result, notes)
        notes.append(f"{limit} taken back: {broken}")
        limit = limit.lowered()
    return _with_notes(search.at(Limit()), notes)


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
        self.everything: list[Layer | Table] = [*self.layers, *self.tables]
        self.batches = None if calibration is None else Batches(calibration)
        if self.batches is None and config.max_total_error is not None:
            raise InputError(
                "max_total_error= is measured on calibration inputs, and there are none",
                expected="batches of inputs, without labels", do="pass calibration=[x, ...]",
            )  # fmt: skip
        collected, self.loss = Collected(), None
        if self.batches is not None:
            collected = collect(self.graph, self.layers, self.tables, self.batches)
            self.loss = OutputLoss(graph, self.batches)
        self._table_ms: dict[tuple[str, tuple[int, ...]], float] = {}
        self.chooser = Chooser(config, collected, latency, config.multiple_of or min(_MULTIPLE, target.lanes()))
        self.bytes, self.ms = graph_bytes(graph), latency.latency_ms(graph)

    def first_limit(self) -> Limit:
        """Return the limit that the budget stands for.

        Raises:
            LowRankError: bytes that no price reaches.
        """
        if self.config.bytes is None:
            return Limit(_DEFAULT_ERROR if self.config.max_error is None else self.config.max_error)
        if self.loss is not None:
            self.chooser.sensitivity = self._sensitivities(self.loss)
        low, high = 0, len(_PRICES)
        while low < high:
            middle = (low + high) // 2
            reached = self._share(_PRICES[middle]) <= self.config.bytes
            low, high = (low, middle) if reached else (middle + 1, high)
        if low < len(_PRICES):
            return Limit(price=_PRICES[low], within=self.config.bytes * self.bytes)
        least = self._share(_PRICES[-1])
        raise LowRankError(
            f"bytes={self.config.bytes:g} cannot be reached: the smallest value is {least:.3f}",
            expected=f"bytes={least:.3f} or more",
            do='ask for less, lower multiple_of=, write save="bytes", or take patterns out of keep=',
        )

    def at(self, limit: Limit) -> Graph:
        """Return the graph under a limit."""
        choice = self._choose(limit)
        if limit.within and choice.factors:
            choice = self._raised(choice, limit.within)
        result = self._write(choice.factors) if choice.factors else _owned(self.original)
        result.meta["low_rank"] = LowRankPlan(
            rows=choice.rows,
            save=self.config.save,
            limit=str(limit),
            bytes_before=self.bytes,
            bytes_after=graph_bytes(result),
            ms_before=self.ms,
            ms_after=self.latency.latency_ms(result),
            total_error=None if self.loss is None else self.loss.of(result),
        )
        return result

    def _share(self, price: float) -> float:
        """Return the share of the bytes that stays under a price."""
        return graph_bytes(self._write(self._choose(Limit(price=price)).factors)) / self.bytes

    def _sensitivities(self, loss: OutputLoss) -> dict[str, float]:
        """Return what the outputs lose for each share of a layer's variance: measured with one layer cut at a time."""
        found = {}
        for layer in self.everything:
            options = self.chooser.options(layer)
            probe = min(options, key=lambda factors: abs(factors.error - _PROBE), default=None)
            if probe is not None and probe.error > 0:
                found[layer.name] = loss.of(self._write({layer.name: probe})) / probe.error
        return found

    def _raised(self, choice: _Choice, within: float) -> _Choice:
        """Raise ranks one by one, where each byte keeps most, as long as the graph stays within some bytes."""
        found = dict(choice.factors)
        raised = True
        while raised:
            raised = False
            steps = [
                (self.chooser.sensitivity.get(layer.name, 1.0) * (found[layer.name].error - more.error)
                 / (more.bytes - found[layer.name].bytes), layer, more)
                for layer in self.everything if layer.name in found
                for more in self.chooser.options(layer)
                if more.bytes > found[layer.name].bytes and more.error < found[layer.name].error
            ]  # fmt: skip
            for _, layer, more in sorted(steps, key=lambda step: -step[0]):
                fits = graph_bytes(self._write({**found, layer.name: more})) <= within
                if fits and not self.chooser.too_little(self._filled(self.chooser.row(layer), layer, more)):
                    found[layer.name] = more
                    raised = True
                    break
        by_name = {layer.name: layer for layer in self.everything}
        rows = (
            self._filled(row, by_name[row.name], found[row.name]) if row.name in found else row for row in choice.rows
        )
        return _Choice(found, tuple(rows))

    def _choose(self, limit: Limit) -> _Choice:
        rows = {one.name: LayerRow(one.name, one.weight, bytes_before=one.bytes, bytes_after=one.bytes, why=one.why)
                for one in self.refused}  # fmt: skip
        found: dict[str, Factors] = {}
        for layer in self.everything:
            row, chosen = self.chooser.row(layer), self.chooser.choose(layer, limit)
            if isinstance(chosen, Factors):
                row = self._filled(row, layer, chosen)
                why = self.chooser.too_little(row)
                if not why:
                    found[layer.name] = chosen
                row = replace(row, method="", bytes_after=row.bytes_before, why=why) if why else row
            else:
                row = replace(row, why=chosen)
            rows[layer.name] = row
        order = [node.name for node in calls(self.graph) if node.name in rows]
        return _Choice(found, tuple(rows[name] for name in order))

    def _filled(self, row: LayerRow, layer: Layer | Table, factors: Factors) -> LayerRow:
        """Fill in what factors do; the time of a table is that of the graph, since layers may take its product in."""
        row = replace(
            row, method=factors.method, ranks=factors.ranks, full_ranks=factors.full_ranks, error=factors.error,
            bytes_after=factors.bytes,
        )  # fmt: skip
        if isinstance(layer, Layer):
            return replace(row, ms_after=self.chooser.ms(layer, factors))
        key = (layer.name, factors.ranks)
        if key not in self._table_ms:
            self._table_ms[key] = self.latency.latency_ms(self._write({layer.name: factors}))
        return replace(row, ms_before=self.ms, ms_after=self._table_ms[key])

    def _write(self, chosen: Mapping[str, Factors]) -> Graph:
        """Return a graph of its own with factors in the place of layers."""
        result = _owned(self.graph)
        nodes = {node.name: node for node in calls(result)}
        tables = {table.name for table in self.tables}
        products = []
        for name, factors in chosen.items():
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
