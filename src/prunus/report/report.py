"""The report of one library, made from its manifest alone: a saved library has it as well."""

import dataclasses
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prunus.errors import InputError
from prunus.manifest import Manifest
from prunus.report.rows import Row, rows_of

if TYPE_CHECKING:
    from rich.console import RenderableType

REPORT_NAME = "report.html"
_WIDTH = 120


@dataclass(frozen=True)
class Report:
    """What a library consists of: `str(report)` is text, `report.html` a page that needs nothing else.

    Attributes:
        manifest: of the library.
        step_ms: measured milliseconds of each step, empty without a measurement.
    """

    manifest: Manifest
    step_ms: tuple[float, ...] = ()

    def with_times(self, step_ms: Sequence[float]) -> "Report":
        """Return the report with measured milliseconds of each step.

        Raises:
            InputError: not one time for each step.
        """
        if len(step_ms) != len(self.manifest.steps):
            raise InputError(f"{len(step_ms)} times", expected=f"{len(self.manifest.steps)}, one for each step")
        return dataclasses.replace(self, step_ms=tuple(step_ms))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """One row a step, in the order in which they run."""
        return rows_of(self.manifest, self.step_ms)

    @property
    def library_bytes(self) -> int:
        """Size of the shared library."""
        return self.manifest.code_bytes + self.manifest.constants_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(row.macs for row in self.rows)

    def marked(self, mark: str) -> tuple[Row, ...]:
        """Return the rows with a mark: "copy" or "general"."""
        return tuple(row for row in self.rows if row.mark == mark)

    def renderables(self) -> "Iterator[RenderableType]":
        """Yield the parts of the text for a console of rich."""
        from prunus.report.text import renderables

        return renderables(self)

    @property
    def html(self) -> str:
        """The page `report.html`: the same bytes for the same library."""
        from prunus.report.page import page

        return page(self)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON knows."""
        facts = self.manifest
        return {
            "name": facts.name,
            "target": facts.target,
            "title": facts.title,
            "inputs": [dataclasses.asdict(record) for record in facts.inputs],
            "outputs": [dataclasses.asdict(record) for record in facts.outputs],
            "library_bytes": self.library_bytes,
            "code_bytes": facts.code_bytes,
            "constants_bytes": facts.constants_bytes,
            "arena_bytes": facts.arena_bytes,
            "arena_bound_bytes": facts.arena_bound_bytes,
            "macs": self.macs,
            "steps": [dataclasses.asdict(row) for row in self.rows],
            "passes": [dataclasses.asdict(summary) for summary in facts.passes],
            "compression": [dataclasses.asdict(step) for step in facts.compression],
            "layers": [dataclasses.asdict(layer) for layer in facts.layers],
        }

    def __str__(self) -> str:
        from rich.console import Console

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
        console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
        for part in self.renderables():
            console.print(part)
        assert isinstance(console.file, io.StringIO)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"
