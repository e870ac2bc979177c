"""How much accuracy each group costs, cut alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from prunus.errors import OutputError
from prunus.passes.canonical import canonical
from prunus.passes.evaluation import Evaluate, accuracy_of
from prunus.passes.graph import Graph
from prunus.passes.prune.apply import apply_cut
from prunus.passes.prune.groups import find_groups
from prunus.passes.prune.importance import Importance, importances
from prunus.passes.prune.pruner import as_batches
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

    def plot(self, path: str | Path) -> Path:
        """Draw one line a group, what it loses by the share that stays, into an .svg, .png or .pdf file.

        Raises:
            OutputError: matplotlib is missing, or the file cannot be written.
        """
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError as error:
            raise OutputError("plots need matplotlib", do="pip install 'prunus[plots]'") from error
        # Letters stay letters, and equal tables give equal files.
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "prunus"}):
            figure = Figure(figsize=(7, 4), layout="constrained")
            axes = figure.subplots()
            for name, found in self.rows:
                pairs = zip(self.shares, found, strict=True)
                points = [(1.0, 0.0), *((share, one - self.accuracy) for share, one in pairs if one is not None)]
                axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=3, label=name)
            axes.set(
                xlabel="share of the group that stays",
                ylabel="change of accuracy",
                title=f"accuracy {self.accuracy:.4f}",
            )
            axes.invert_xaxis()
            axes.grid(alpha=0.3)
            axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
            try:
                figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None)
            except (OSError, ValueError) as error:
                raise OutputError(
                    f"{path} cannot be written: {error}", expected="an .svg, .png or .pdf file"
                ) from error
        return Path(path)


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
