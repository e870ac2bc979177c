"""What became of each layer: a value that prints itself."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.console import Group as Lines
from rich.table import Table


@dataclass(frozen=True)
class LayerRow:
    """What became of one layer.

    Attributes:
        name: name of its node.
        weight: name of its weight.
        method: "svd", "spatial_svd", "tucker2", "embedding"; empty where it stays.
        ranks: what stays of `full_ranks`.
        full_ranks: what would be exact.
        error: share of the variance of its outputs that is lost on the calibration inputs; without them, of the squares
            of its weights.
        bytes_before, bytes_after: of its weights and biases.
        ms_before, ms_after: estimated time of it alone on the target; NaN where nothing was estimated.
        why: why it stays; empty where it is factorised.
    """

    name: str
    weight: str
    method: str = ""
    ranks: tuple[int, ...] = ()
    full_ranks: tuple[int, ...] = ()
    error: float = 0.0
    bytes_before: int = 0
    bytes_after: int = 0
    ms_before: float = float("nan")
    ms_after: float = float("nan")
    why: str = ""


@dataclass(frozen=True)
class LowRankPlan:
    """What low rank did to one graph.

    Attributes:
        rows: one for each layer with weights, in the order of the graph.
        save: "time" or "bytes".
        limit: what each layer was allowed to lose.
        bytes_before, bytes_after: of all tensors of the graph.
        ms_before, ms_after: estimated time of the graph on the target.
        total_error: share of the variance of the graph's outputs that is lost on the calibration inputs, before any
            training; None without them.
        notes: what was taken back, and why.
    """

    rows: tuple[LayerRow, ...]
    save: str
    limit: str
    bytes_before: int
    bytes_after: int
    ms_before: float
    ms_after: float
    total_error: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def factorised(self) -> tuple[LayerRow, ...]:
        """The rows of layers that did not stay."""
        return tuple(row for row in self.rows if row.method)

    def renderables(self) -> Iterator[Table | str]:
        """Yield lines and a table for a terminal."""
        share = self.bytes_after / max(self.bytes_before, 1)
        yield f"bytes {self.bytes_before:,} -> {self.bytes_after:,} ({share:.0%})"
        yield f"estimated ms {self.ms_before:.4g} -> {self.ms_after:.4g}"
        if self.total_error is not None:
            yield f"outputs lose {self.total_error:.2%} of their variance before training"
        yield from self.notes
        table = Table(
            title=f"Layers, allowed to lose {self.limit}", title_justify="left", box=None,
            header_style="bold", pad_edge=False,
        )  # fmt: skip
        for heading in ("layer", "method"):
            table.add_column(heading)
        for heading in ("rank", "of", "error", "bytes", "after", "est. ms", "after"):
            table.add_column(heading, justify="right")
        table.add_column("why it stays")
        for row in self.rows:
            done = bool(row.method)
            table.add_row(
                row.weight or row.name,
                row.method,
                _numbers(row.ranks),
                _numbers(row.full_ranks),
                f"{row.error:.4f}" if done else "",
                f"{row.bytes_before:,}",
                f"{row.bytes_after:,}" if done else "",
                _ms(row.ms_before),
                _ms(row.ms_after) if done else "",
                row.why,
            )
        yield table

    def __str__(self) -> str:
        console = Console(width=180, no_color=True)
        with console.capture() as capture:
            console.print(Lines(*self.renderables()), markup=False, highlight=False)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _numbers(ranks: tuple[int, ...]) -> str:
    return ", ".join(map(str, ranks))


def _ms(ms: float) -> str:
    return "" if ms != ms else f"{ms:.4f}"
