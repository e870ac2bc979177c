"""How much accuracy each group costs, cut alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from prunus.passes.graph import Graph
from prunus.passes.prune.apply import apply_cut
from prunus.passes.prune.groups import find_groups
from prunus.passes.prune.importance import Importance, importances
from prunus.passes.prune.pruner import Evaluate, accuracy_of, as_batches, canonical
from prunus.passes.prune.scene import Scene
from prunus.passes.prune.trace import trace
from prunus.passes.prune.units import Axes


@dataclass(frozen=True)
class Sensitivity:
    """Accuracy by group and width.

    Attributes:
        shares: shares of a group's units that stay.
        accuracy: of the whole graph.
        rows: for each group its name and one accuracy for each share; None where nothing that small can be left.
    """

    shares: tuple[float, ...]
    accuracy: float
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]

    def renderables(self) -> Iterator[Table]:
        """Yield a table for a terminal: what each cut loses."""
        table = Table(title=f"Accuracy {self.accuracy:.4f}", title_justify="left", box=None, header_style="bold")
        table.add_column("group")
        for share in self.shares:
            table.add_column(f"{share:.0%} left", justify="right")
        for name, found in self.rows:
            table.add_row(name, *("-" if one is None else f"{one - self.accuracy:+.4f}" for one in found))
        yield table


def sensitivity(
    graph: Graph,
    evaluate: Evaluate,
    *,
    shares: Sequence[float] = (0.75, 0.5, 0.25),
    importance: Importance = "l1",
    calibration: Sequence[Any] | None = None,
    keep: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Cut each group alone to some widths, least important units first, and evaluate each time.

    Args:
        graph: any imported graph; it stays as it is.
        evaluate: takes a function that runs a graph and returns an accuracy.
        shares: how much of a group to leave.
        importance: as in `Prune`.
        calibration: batches of inputs, for measures that need them.
        keep: patterns of layers to leave out.
        progress: called with how many evaluations are finished and how many there are.

    Raises:
        PruneError: an `evaluate` that raises or returns no number.
        InputError: a measure of importance that needs calibration inputs, and none.
    """
    whole = trace(canonical(graph), keep=keep)
    axes = Axes(whole)
    groups = find_groups(whole, axes)
    numbers = importances(Scene(whole, as_batches(calibration)), groups, importance)
    rows = []
    for place, (group, importance_of) in enumerate(zip(groups, numbers, strict=True)):
        ranked = importance_of.argsort(kind="stable").tolist()
        found: list[float | None] = []
        for share in shares:
            count = len(ranked) - max(1, round(share * len(ranked)))
            cut = frozenset().union(*(group.units[unit].classes for unit in ranked[:count]))
            fits = all(gone < axes.sizes[axis] for axis, gone in axes.counts(cut).items())
            found.append(accuracy_of(evaluate, apply_cut(whole, cut).graph) if fits else None)
            if progress:
                progress(place * len(shares) + len(found), len(groups) * len(shares))
        rows.append((group.name, tuple(found)))
    return Sensitivity(tuple(shares), accuracy_of(evaluate, whole.graph), tuple(rows))
