"""The compression chain of `prunus.compile`: prune, recover, quantise, and take back what costs too much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from prunus.compression import Prune, Quantize
from prunus.errors import InputError
from prunus.targets import Target

if TYPE_CHECKING:
    from prunus.passes.graph import Graph
    from prunus.passes.recovery import Batches

Evaluate = Callable[[Callable[..., Any]], float]
"""Takes `run`, which takes and returns tensors with any number of samples along dimension 0; higher is better."""

FineTune = Callable[[Any], None] | str | None
"""A function that trains a module in place, "distill", or nothing."""

# Distillation between the steps of pruning is short: the next cut comes soon.
_SHORT = 4
# Importance settles with fewer samples than training wants.
_SAMPLES = 64


@dataclass(frozen=True)
class CompressionStep:
    """What one step of the chain left.

    Attributes:
        name: "original", "prune", "quantize".
        accuracy: what `evaluate` says; None without it.
        weight_bytes: bytes of parameters and buffers.
        taken_back: the contract did not hold, so the step was undone.
    """

    name: str
    accuracy: float | None
    weight_bytes: int
    taken_back: bool = False


def compress(
    graph: "Graph",
    *,
    target: Target,
    prune: Prune | None = None,
    quantize: Quantize | None = None,
    calibration: Sequence[Any] | None = None,
    fine_tune: FineTune = None,
    evaluate: Evaluate | None = None,
    max_drop: float = 0.01,
) -> "Graph":
    """Return a smaller graph whose accuracy is at most `max_drop` below that of `graph`.

    `graph.meta["compression"]` of the result holds a `CompressionStep` for the original and for each step.

    Args:
        graph: any imported graph; it stays as it is.
        target: decides over the bits of integer weights and over latencies.
        prune, quantize: what to do; see `prunus.Prune`, `prunus.Quantize`.
        calibration: batches of inputs without labels, for importance and distillation; those of `quantize` by default.
        fine_tune: trains a module in place, after pruning and, with `Quantize(training="lsq")`, after rounding has been
            prepared; "distill" lets the original teach on the calibration inputs.
        evaluate, max_drop: the contract. A step that breaks it is taken back.

    Raises:
        InputError: "distill" or a measure of importance without calibration inputs.
        PruneError, QuantizeError: as `passes.prune` and `passes.quantize`.
    """
    return _Chain(graph, target, calibration, quantize, fine_tune, evaluate, max_drop).run(prune, quantize)


class _Chain:
    """The state of one run: the original, the last graph that holds, the rows of the table."""

    def __init__(
        self,
        graph: "Graph",
        target: Target,
        calibration: Sequence[Any] | None,
        quantize: Quantize | None,
        fine_tune: FineTune,
        evaluate: Evaluate | None,
        max_drop: float,
    ) -> None:
        from prunus.passes import CANONICAL, run_passes

        self.original = run_passes(graph, CANONICAL)
        self.target, self.evaluate, self.max_drop, self.fine_tune = target, evaluate, max_drop, fine_tune
        given = calibration if calibration is not None else quantize.calibration if quantize is not None else None
        self.calibration = None if given is None else list(given)
        self.rows = [self._row("original", self.original)]

    def run(self, prune: Prune | None, quantize: Quantize | None) -> "Graph":
        graph = self.original
        if prune is not None:
            graph = self._pruned(prune)
            self.rows.append(self._row("prune", graph))
        if quantize is not None:
            smaller = self._quantized(graph, quantize)
            row = self._row("quantize", smaller)
            self.rows.append(row)
            graph = graph if row.taken_back else smaller
        graph.meta["compression"] = tuple(self.rows)
        return graph

    def _pruned(self, config: Prune) -> "Graph":
        """Prune in steps, train after each, and stop before the step that breaks the contract."""
        from prunus.passes.prune import EstimatedLatency, prune

        latency = EstimatedLatency(self.target) if config.budget in ("latency", "latency_ms") else None
        graph = prune(
            self.original,
            config,
            calibration=self._samples(),
            evaluate=self.evaluate,
            max_drop=self.max_drop,
            fine_tune=self._train if self.fine_tune is not None else None,
            latency=latency,
        )
        if self.fine_tune == "distill":
            self._distill(graph, 1)
        return graph

    def _quantized(self, graph: "Graph", config: Quantize) -> "Graph":
        from prunus.passes import DEFAULT, run_passes
        from prunus.passes.quantize import convert, freeze_batch_norm, prepare_training, quantize

        if config.training is None:
            return quantize(run_passes(graph, DEFAULT), config, target=self.target)
        prepared = prepare_training(graph, config, target=self.target)
        if self.fine_tune == "distill":
            # Statistics of batches would move the very ranges that the steps are learned for.
            freeze_batch_norm(prepared)
            self._distill(prepared, _SHORT, frozen=True)
        else:
            self._train(prepared)
        return convert(prepared, config)

    def _train(self, graph: "Graph") -> None:
        from prunus.passes.trainable import TrainableGraph

        if self.fine_tune == "distill":
            self._distill(graph, _SHORT)
        elif callable(self.fine_tune):
            module = TrainableGraph(graph)
            self.fine_tune(module)
            module.eval()

    def _distill(self, graph: "Graph", part: int, *, frozen: bool = False) -> None:
        from prunus.passes.recovery import Distill, distill

        config = Distill(steps=Distill().steps // part, frozen=frozen)
        distill(graph, self.original, self._batches(), config)

    def _samples(self) -> list[Any] | None:
        """Return some calibration samples in portions of the graph's own batch."""
        from prunus.passes.graph import inputs, shape

        if self.calibration is None:
            return None
        size = shape(inputs(self.original)[0])[0]
        portions = (portion for portion in self._batches().ordered(size) if len(portion[0]) == size)
        return list(islice(portions, _SAMPLES))

    def _batches(self) -> "Batches":
        from prunus.passes.recovery import Batches

        if self.calibration is None:
            raise InputError(
                "fine_tune='distill' has no inputs to teach on",
                expected="batches of inputs, without labels",
                do="pass calibration=[x, ...]",
            )
        return Batches(self.calibration)

    def _row(self, name: str, graph: "Graph") -> CompressionStep:
        from prunus.passes.prune.pruner import accuracy_of

        tensors = [*graph.parameters(), *graph.buffers()]
        weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        accuracy = None if self.evaluate is None else accuracy_of(self.evaluate, graph)
        broken = accuracy is not None and name != "original" and accuracy < (self.rows[0].accuracy or 0) - self.max_drop
        return CompressionStep(name, accuracy, weight_bytes, broken)
