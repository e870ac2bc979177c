"""What compression may cost: a user's measure of accuracy, and the least that must be left of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunus.passes.evaluation import Evaluate
    from prunus.passes.graph import Graph


@dataclass(frozen=True)
class Verdict:
    """What a model is worth.

    Attributes:
        accuracy: what `evaluate` says; None without it.
        robustness: the same under each perturbation, by name; empty unless it was asked for.
    """

    accuracy: float | None = None
    robustness: tuple[tuple[str, float], ...] = ()


class Contract:
    """Judges graphs against the original.

    Args:
        original: what is compressed.
        evaluate: without it every graph passes.
        max_drop: how much of the accuracy may go.
        robustness: also measure accuracy under perturbations (`prunus.robustness`).
        max_robust_drop: how much of each of these may go.

    Attributes:
        baseline: the original's own verdict.

    Raises:
        PruneError: `evaluate` raises, returns no number, or two different ones for the same graph.
    """

    def __init__(
        self,
        original: "Graph",
        evaluate: "Evaluate | None",
        *,
        max_drop: float = 0.01,
        robustness: bool = False,
        max_robust_drop: float = 0.05,
    ) -> None:
        from prunus.passes.evaluation import baseline
        from prunus.robustness import perturbations

        self.evaluate, self.max_drop, self.max_robust_drop = evaluate, max_drop, max_robust_drop
        self._perturbations = perturbations(original) if robustness and evaluate is not None else {}
        if evaluate is not None:
            baseline(evaluate, original, max_drop)  # two answers that differ tell nothing about what a step costs
        self.baseline = self.judge(original)

    def judge(self, graph: "Graph") -> Verdict:
        """Measure a graph."""
        from prunus.passes.evaluation import accuracy_of

        if self.evaluate is None:
            return Verdict()
        robustness = tuple(
            (name, accuracy_of(_under(change, self.evaluate), graph)) for name, change in self._perturbations.items()
        )
        return Verdict(accuracy_of(self.evaluate, graph), robustness)

    def left(self, accuracy: float | None) -> float:
        """Return how much a model of this accuracy may still lose."""
        if accuracy is None or self.baseline.accuracy is None:
            return self.max_drop
        return self.max_drop - (self.baseline.accuracy - accuracy)

    def breach(self, verdict: Verdict) -> str:
        """Say what a verdict falls short of; empty where the contract holds."""
        pairs = [("accuracy", verdict.accuracy, self.baseline.accuracy, self.max_drop)] + [
            (f"accuracy under {name}", found, before, self.max_robust_drop)
            for (name, found), (_, before) in zip(verdict.robustness, self.baseline.robustness, strict=True)
        ]
        for name, found, before, drop in pairs:
            if found is not None and before is not None and found < before - drop:
                return f"{name} {found:.4f}, at least {before - drop:.4f} wanted"
        return ""


def _under(change: Callable[..., tuple[Any, ...]], evaluate: "Evaluate") -> "Evaluate":
    return lambda run: evaluate(lambda *tensors: run(*change(*tensors)))
