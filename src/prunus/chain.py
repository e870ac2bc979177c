"""The compression chain of `prunus.compile`: prune, factorise, quantise, and take back what costs too much."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from prunus.compression import LowRank, Prune, Quantize
from prunus.contract import Contract, Verdict
from prunus.errors import InputError
from prunus.manifest import CompressionStep
from prunus.targets import Target

if TYPE_CHECKING:
    from torch import Tensor

    from prunus.passes.evaluation import Evaluate
    from prunus.passes.graph import Graph
    from prunus.passes.recovery import Batches, Distill

FineTune: TypeAlias = "Callable[[Any], None] | str | Distill | None"
"""A function that trains a module in place, "distill" or a `prunus.Distill`, or nothing."""

Progress = Callable[[str, int, int], None]

# Importance settles with fewer samples than training wants.
_SAMPLES = 64


def compress(
    graph: "Graph",
    *,
    target: Target,
    example_inputs: "Sequence[Tensor] | None" = None,
    prune: Prune | None = None,
    low_rank: LowRank | None = None,
    quantize: Quantize | None = None,
    calibration: Sequence[Any] | None = None,
    fine_tune: FineTune = None,
    evaluate: "Evaluate | None" = None,
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
        example_inputs: what passes are checked on, one tensor for each placeholder; random numbers by default.
        prune, low_rank, quantize: what to do, in this order; see `prunus.Prune`, `prunus.LowRank`, `prunus.Quantize`.
        calibration: batches of inputs without labels, for importance and distillation; those of `quantize` by default.
        fine_tune: trains a module in place after pruning, after factorising and, with `Quantize(training="lsq")`, when
            rounding has been prepared; "distill" lets the original teach on the calibration inputs.
        evaluate, max_drop: the contract. Pruning stops before the step that breaks it; less is factorised until it
            holds; the loudest integer layers stay in float32.
        robustness, max_robust_drop: the same for accuracy under noise, blur, brightness and FGSM.
        seed: of "distill".
        progress: called as steps go on.

    Raises:
        InputError: "distill" or a measure of importance without calibration inputs.
        PruneError, LowRankError, QuantizeError: as `passes.prune`, `passes.low_rank`, `passes.quantize`.
    """
    from prunus.passes import CANONICAL, run_passes
    from prunus.passes.recovery import Distill

    if not (fine_tune in (None, "distill") or isinstance(fine_tune, Distill) or callable(fine_tune)):
        raise InputError(f"fine_tune={fine_tune!r}", expected='a function that trains a module, or "distill"')
    lesson = Distill(seed=seed) if fine_tune == "distill" else fine_tune if isinstance(fine_tune, Distill) else None
    trainer = fine_tune if callable(fine_tune) else None
    original = run_passes(graph, CANONICAL, example_inputs)
    given = calibration if calibration is not None else quantize.calibration if quantize is not None else None
    samples = None if given is None else list(given)
    if samples is not None and quantize is not None and quantize.calibration is given:
        quantize = replace(quantize, calibration=samples)  # a generator yields its batches once
    contract = Contract(
        original, evaluate, max_drop=max_drop, robustness=robustness, max_robust_drop=max_robust_drop
    )  # fmt: skip
    tell = progress or (lambda step, done, total: None)
    chain = _Chain(original, target, example_inputs, samples, lesson, trainer, contract, tell)
    if prune is not None:
        chain.prune(prune)
    if low_rank is not None:
        chain.low_rank(low_rank)
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
        examples: "Sequence[Tensor] | None",
        samples: list[Any] | None,
        lesson: "Distill | None",
        trainer: Callable[[Any], None] | None,
        contract: Contract,
        progress: Progress,
    ) -> None:
        self.original, self.graph = original, original
        self.target, self.contract = target, contract
        self.lesson, self.trainer = lesson, trainer
        self.progress = progress
        self.examples, self.samples = examples, samples
        self.rows = [self._row("original", original, contract.baseline)]

    def prune(self, config: Prune) -> None:
        """Prune in steps, train, and stop before the step that breaks the contract.

        A function trains after each step; distillation is one long lesson, at the end or before a step is given up.
        """
        from prunus.passes.latency import latency_model
        from prunus.passes.prune import prune

        self.progress("prune", 0, 1)
        pruned = prune(
            self.graph,
            config,
            calibration=self._few_samples(),
            evaluate=self.contract.evaluate,
            max_drop=self.contract.max_drop,
            fine_tune=self._train if self.trainer else None,
            finish=partial(self._train, lesson=self.lesson) if self.lesson else None,
            latency=latency_model(self.target) if config.budget in ("latency", "latency_ms") else None,
        )
        self._accept("prune", pruned, self.contract.judge(pruned), list(pruned.meta["prune"].notes))

    def low_rank(self, config: LowRank) -> None:
        """Factorise layers, train, and do less until the contract holds."""
        from prunus.passes.low_rank import low_rank

        self.progress("low rank", 0, 1)
        factorised = low_rank(
            self.graph,
            config,
            calibration=self.samples,
            target=self.target,
            evaluate=self.contract.evaluate,
            max_drop=self.contract.left(self.rows[-1].accuracy),
            fine_tune=partial(self._train, lesson=self.lesson) if self.lesson or self.trainer else None,
        )
        plan = factorised.meta["low_rank"]
        notes = [*plan.notes, *(f"{row.name} stays: {row.why}" for row in plan.rows if row.why)]
        self._accept("low_rank", factorised, self.contract.judge(factorised), notes)

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
                folded = run_passes(self.graph, FOLD, self.examples)
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
            self.rows.append(self._row(name, graph, verdict, tuple(notes)))
            self.graph = graph

    def _quantized(self, config: Quantize) -> "Graph":
        from prunus.passes import FOLD, run_passes
        from prunus.passes.quantize import convert, freeze_batch_norm, prepare_training, quantize

        if config.training is None:
            return quantize(run_passes(self.graph, FOLD, self.examples), config, target=self.target)
        # Training moves the weights that the prepared graph shares with its source.
        prepared = prepare_training(copy.deepcopy(self.graph), config, target=self.target)
        lesson = self.lesson
        if lesson:
            # Statistics of batches would move the very ranges that the steps are learned for. With batch norm folded,
            # layers do not compute what the original's layers of the same name do, and there is little left to learn.
            freeze_batch_norm(prepared)
            lesson = replace(
                lesson, frozen=True, features=0.0, learning_rate=lesson.learning_rate / 10, steps=-(-lesson.steps // 3)
            )  # fmt: skip
        self._train(prepared, lesson)
        return convert(prepared, config)

    def _train(self, graph: "Graph", lesson: "Distill | None" = None) -> None:
        from prunus.passes.recovery import distill
        from prunus.passes.trainable import TrainableGraph

        if lesson:
            distill(
                graph, self.original, self._batches(), lesson,
                progress=lambda done, total: self.progress("distill", done, total),
            )  # fmt: skip
        elif self.trainer:
            module = TrainableGraph(graph)
            self.progress("fine-tune", 0, 1)
            self.trainer(module)
            module.eval()

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
                "distillation has no inputs to teach on",
                expected="batches of inputs, without labels",
                do="pass calibration=[x, ...]",
            )
        return Batches(self.samples)

    def _row(self, name: str, graph: "Graph", verdict: Verdict, notes: tuple[str, ...] = ()) -> CompressionStep:
        from prunus.passes.latency import EstimatedLatency

        tensors = [*graph.parameters(), *graph.buffers()]
        return CompressionStep(
            name=name,
            accuracy=verdict.accuracy,
            weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            estimated_ms=EstimatedLatency(self.target).latency_ms(graph),
            robustness=dict(verdict.robustness),
            notes=notes,
        )
