"""The compression chain of `prunus.compile`: prune, factorise, quantise, and take back what costs too much."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from prunus.compression import Prune, Quantize
from prunus.contract import Contract, Evaluate, Verdict
from prunus.errors import InputError
from prunus.manifest import CompressionStep
from prunus.targets import Target

if TYPE_CHECKING:
    from prunus.passes.graph import Graph
    from prunus.passes.recovery import Batches

FineTune = Callable[[Any], None] | str | None
"""A function that trains a module in place, "distill", or nothing."""

Progress = Callable[[str, int, int], None]

# Between two steps of pruning training is short: the next cut comes soon.
_SHORT = 0.25
# Importance settles with fewer samples than training wants.
_SAMPLES = 64


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
    robustness: bool = False,
    max_robust_drop: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
) -> "Graph":
    """Return a smaller graph whose accuracy is at most `max_drop` below that of `graph`.

    `graph.meta["compression"]` of the result holds a `CompressionStep` for the original and for each step.

    Args:
        graph: any imported graph; it and its parameters stay as they are.
        target: decides over the bits of integer weights and over latencies.
        prune, quantize: what to do; see `prunus.Prune`, `prunus.Quantize`.
        calibration: batches of inputs without labels, for importance and distillation; those of `quantize` by default.
        fine_tune: trains a module in place, after pruning and, with `Quantize(training="lsq")`, after rounding has been
            prepared; "distill" lets the original teach on the calibration inputs.
        evaluate, max_drop: the contract. Pruning stops before the step that breaks it; of the integer layers, the
            loudest stay in float32 until it holds.
        robustness, max_robust_drop: the same for accuracy under noise, blur, brightness and FGSM.
        seed: of distillation.
        progress: called as steps go on.

    Raises:
        InputError: "distill" or a measure of importance without calibration inputs.
        PruneError, QuantizeError: as `passes.prune` and `passes.quantize`.
    """
    from prunus.passes import CANONICAL, run_passes

    if isinstance(fine_tune, str) and fine_tune != "distill":
        raise InputError(f"fine_tune={fine_tune!r}", expected='a function that trains a module, or "distill"')
    original = run_passes(graph, CANONICAL)
    given = calibration if calibration is not None else quantize.calibration if quantize is not None else None
    samples = None if given is None else list(given)
    if samples is not None and quantize is not None and quantize.calibration is given:
        quantize = replace(quantize, calibration=samples)  # a generator yields its batches once
    contract = Contract(
        original, evaluate, max_drop=max_drop, robustness=robustness, max_robust_drop=max_robust_drop
    )  # fmt: skip
    chain = _Chain(
        original, target, samples, fine_tune, contract, seed,
        progress or (lambda step, done, total: None),
    )  # fmt: skip
    if prune is not None:
        chain.prune(prune)
    if quantize is not None:
        chain.quantize(quantize)
    chain.graph.meta["compression"] = tuple(chain.rows)
    return chain.graph


class _Chain:
    """The original, the last graph that holds, and the rows of the table."""

    def __init__(
        self,
        original: "Graph",
        target: Target,
        samples: list[Any] | None,
        fine_tune: FineTune,
        contract: Contract,
        seed: int,
        progress: Progress,
    ) -> None:
        self.original, self.graph = original, original
        self.target, self.fine_tune, self.contract, self.seed = target, fine_tune, contract, seed
        self.progress = progress
        self.samples = samples
        self.rows = [_row("original", original, contract.baseline)]

    def prune(self, config: Prune) -> None:
        """Prune in steps, train after each, and stop before the step that breaks the contract."""
        from prunus.passes.prune import latency_model, prune

        self.progress("prune", 0, 1)
        pruned = prune(
            self.graph,
            config,
            calibration=self._few_samples(),
            evaluate=self.contract.evaluate,
            max_drop=self.contract.max_drop,
            fine_tune=self._train_a_little if self.fine_tune is not None else None,
            latency=latency_model(self.target) if config.budget in ("latency", "latency_ms") else None,
        )
        if self.fine_tune == "distill":
            self._distill(pruned)
        self._accept("prune", pruned, self.contract.judge(pruned), list(pruned.meta["prune"].notes))

    def quantize(self, config: Quantize) -> None:
        """Quantise, and leave the loudest layers in float32, twice as many each time, until the contract holds."""
        from prunus.passes import FOLD, run_passes
        from prunus.passes.quantize.sensitivity import rank_layers

        self.progress("quantize", 0, 1)
        ranked: list[str] | None = None
        kept: list[str] = []
        while True:
            smaller = self._quantized(replace(config, keep=[*config.keep, *kept]))
            verdict = self.contract.judge(smaller)
            breach = self.contract.breach(verdict)
            if ranked is None:
                folded = run_passes(self.graph, FOLD)
                ranked = [name for name, _ in rank_layers(folded, config, self.target)] if breach else []
            if not breach or len(kept) == len(ranked):
                break
            kept = ranked[: max(1, 2 * len(kept))]
        note = f"left in float32 for the contract: {', '.join(kept)}"
        self._accept("quantize", smaller, verdict, [note] if kept and not breach else [])

    def _accept(self, name: str, graph: "Graph", verdict: Verdict, notes: list[str]) -> None:
        """Go on with `graph` if the contract holds, else with what was there before."""
        breach = self.contract.breach(verdict)
        if breach:
            notes.append(f"taken back: {breach}")
            self.rows.append(replace(self.rows[-1], name=name, notes=tuple(notes)))
        else:
            self.rows.append(_row(name, graph, verdict, tuple(notes)))
            self.graph = graph

    def _quantized(self, config: Quantize) -> "Graph":
        from prunus.passes import FOLD, run_passes
        from prunus.passes.quantize import convert, freeze_batch_norm, prepare_training, quantize

        if config.training is None:
            return quantize(run_passes(self.graph, FOLD), config, target=self.target)
        # Training moves the weights that the prepared graph shares with its source.
        prepared = prepare_training(copy.deepcopy(self.graph), config, target=self.target)
        if self.fine_tune == "distill":
            # Statistics of batches would move the very ranges that the steps are learned for.
            freeze_batch_norm(prepared)
            self._distill(prepared, frozen=True)
        else:
            self._train(prepared)
        return convert(prepared, config)

    def _train_a_little(self, graph: "Graph") -> None:
        if self.fine_tune == "distill":
            self._distill(graph, share=_SHORT)
        else:
            self._train(graph)

    def _train(self, graph: "Graph") -> None:
        from prunus.passes.trainable import TrainableGraph

        if callable(self.fine_tune):
            module = TrainableGraph(graph)
            self.progress("fine-tune", 0, 1)
            self.fine_tune(module)
            module.eval()

    def _distill(self, graph: "Graph", *, share: float = 1.0, frozen: bool = False) -> None:
        from prunus.passes.recovery import Distill, distill

        config = Distill(steps=round(share * Distill().steps), seed=self.seed, frozen=frozen)
        distill(
            graph, self.original, self._batches(), config,
            progress=lambda done, total: self.progress("distill", done, total),
        )  # fmt: skip

    def _few_samples(self) -> list[Any] | None:
        """Return some calibration samples in portions of the graph's own batch."""
        from prunus.passes.graph import inputs, shape

        if self.samples is None:
            return None
        size = shape(inputs(self.original)[0])[0]
        portions = (portion for portion in self._batches().ordered(size) if len(portion[0]) == size)
        return list(islice(portions, _SAMPLES))

    def _batches(self) -> "Batches":
        from prunus.passes.recovery import Batches

        if self.samples is None:
            raise InputError(
                "fine_tune='distill' has no inputs to teach on",
                expected="batches of inputs, without labels",
                do="pass calibration=[x, ...]",
            )
        return Batches(self.samples)


def _row(name: str, graph: "Graph", verdict: Verdict, notes: tuple[str, ...] = ()) -> CompressionStep:
    tensors = [*graph.parameters(), *graph.buffers()]
    weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return CompressionStep(name, verdict.accuracy, weight_bytes, dict(verdict.robustness), notes)
