"""The plan: what goes, what it saves, what stays and why. A value that prints itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.console import Group as Lines
from rich.table import Table

from prunus.passes.prune.groups import Group, Protected


@dataclass(frozen=True)
class Part:
    """What happens to one group.

    Attributes:
        group: the group.
        cut: numbers of the units that go, ascending.
        importance: one number for each unit of the group, as it was measured last; empty where nothing was.
        saving: what the budget's measure loses when one unit goes first.
    """

    group: Group
    cut: tuple[int, ...] = ()
    importance: tuple[float, ...] = ()
    saving: float = 0.0

    @property
    def width(self) -> int:
        """Units that stay."""
        return len(self.group.units) - len(self.cut)


@dataclass(frozen=True)
class PrunePlan:
    """What pruning does to one graph.

    Attributes:
        parts: one for each group, in the order of the graph.
        protected: layers with channels that stay.
        measure: what the budget counts: "channels", "macs", "parameters", "bytes" or "latency_ms".
        before: of the whole graph.
        budget: what it may cost, in the same unit.
        after: what it costs.
        notes: what stopped it short of the budget, if anything did.
    """

    parts: tuple[Part, ...]
    protected: tuple[Protected, ...]
    measure: str
    before: float
    budget: float
    after: float
    notes: tuple[str, ...] = ()

    @property
    def cut(self) -> frozenset[int]:
        """All classes that go."""
        return frozenset().union(*(part.group.units[place].classes for part in self.parts for place in part.cut))

    def as_dict(self) -> dict[str, Any]:
        """Return what `renderables` shows, in the types of JSON."""
        return {
            "measure": self.measure,
            "before": self.before,
            "budget": self.budget,
            "after": self.after,
            "notes": list(self.notes),
            "groups": [
                {
                    "name": part.group.name,
                    "layers": list(part.group.layers),
                    "units": len(part.group.units),
                    "left": part.width,
                    "saving": part.saving,
                    "unit_takes": [str(coupled) for coupled in part.group.coupled],
                    "inexact": None if part.group.inexact is None else str(part.group.inexact),
                }
                for part in self.parts
            ],
            "protected": [
                {
                    "layer": one.layer,
                    "channels": one.channels,
                    "total": one.total,
                    "reason": str(one.reason),
                    "way": list(one.way),
                }
                for one in self.protected
            ],
        }

    def renderables(self) -> Iterator[Table | str]:
        """Yield tables for a terminal."""
        yield f"{self.measure} {self.before:,.6g} -> {self.after:,.6g} ({self.after / max(self.before, 1e-30):.0%})"
        yield from self.notes
        yield self._groups()
        if self.protected:
            yield self._protected()

    def _groups(self) -> Table:
        table = Table(title="Groups", title_justify="left", box=None, header_style="bold", pad_edge=False)
        table.add_column("group")
        for heading in ("units", "left", f"{self.measure} each"):
            table.add_column(heading, justify="right")
        table.add_column("one unit takes")
        table.add_column("exact")
        for part in self.parts:
            table.add_row(
                part.group.name,
                str(len(part.group.units)),
                str(part.width),
                f"{part.saving:,.0f}" if part.saving >= 100 else f"{part.saving:.4g}",
                _listed([str(coupled) for coupled in part.group.coupled], 4),
                "yes" if part.group.inexact is None else str(part.group.inexact),
            )
        return table

    def _protected(self) -> Table:
        table = Table(title="Protected", title_justify="left", box=None, header_style="bold", pad_edge=False)
        table.add_column("layer")
        table.add_column("channels", justify="right")
        table.add_column("why")
        table.add_column("by way of")
        for one in self.protected:
            table.add_row(one.layer, f"{one.channels} of {one.total}", str(one.reason), _listed(list(one.way[1:-1]), 6))
        return table

    def __str__(self) -> str:
        console = Console(width=160, no_color=True)
        with console.capture() as capture:
            console.print(Lines(*self.renderables()), markup=False, highlight=False)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _listed(words: list[str], most: int) -> str:
    further = len(words) - most
    return ", ".join(words[:most]) + (f" and {further} more" if further > 0 else "")
