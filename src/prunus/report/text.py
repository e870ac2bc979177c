"""The report in a terminal."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from prunus.report.rows import Row
from prunus.report.units import kilobytes, millions, plural, tensor

if TYPE_CHECKING:
    from prunus.report.report import Report

_REASONS = 8


def renderables(report: "Report") -> Iterator[RenderableType]:
    """Yield the parts of the report from top to bottom."""
    facts = report.manifest
    yield Text(f"{facts.name}, for {facts.title}", style="bold")
    for line in summary(report):
        yield Text(line)
    yield step_table(report)
    if facts.compression:
        yield compression_table(report)
    for step in facts.compression:
        yield from (Text(f"  {step.name}: {note}") for note in step.notes)
    if any(layer.reason for layer in facts.layers):
        yield Text("layers in float32", style="bold")
        yield from (Text(f"  {layer.layer}: {layer.reason}") for layer in facts.layers if layer.reason)
    changes = [item for item in facts.passes if item.nodes_before != item.nodes_after or item.max_error]
    if changes:
        yield Text("passes that changed the number of operators or the outputs", style="bold")
    for item in changes:
        error = f", outputs by {item.max_error:.1e}" if item.max_error else ""
        yield Text(f"  {item.name}: {item.nodes_before} → {plural(item.nodes_after, 'operator')}{error}")
    yield from _reasons(report)


def summary(report: "Report") -> list[str]:
    """Return the totals, a line each."""
    facts = report.manifest
    general = report.marked("general")
    return [
        f"inputs   {', '.join(map(tensor, facts.inputs))}",
        f"outputs  {', '.join(map(tensor, facts.outputs))}",
        f"library  {kilobytes(report.library_bytes)}: code {kilobytes(facts.code_bytes)}, "
        f"weights {kilobytes(facts.constants_bytes)}",
        f"memory   {kilobytes(facts.arena_bytes)} for an instance; no plan can take less than "
        f"{kilobytes(facts.arena_bound_bytes)}",
        f"work     {millions(report.macs)} multiply-accumulates in {plural(len(report.rows), 'step')}, "
        f"{plural(len(report.marked('copy')), 'copy', 'copies')} among them"
        + (f"; {plural(len(general), 'step')} by the general lowering, which may be slow" if general else ""),
        *_tuning(report),
    ]


def _tuning(report: "Report") -> Iterator[str]:
    """Say how many kernels tuning has chosen, and by what."""
    chosen = Counter(step.tuned for step in report.manifest.steps if step.tuned)
    if chosen:
        how = {"measured": "measured times", "estimated": "estimated cycles of an emulated processor"}
        counts = (f"{plural(count, 'step')} by {how[source]}" for source, count in sorted(chosen.items()))
        yield f"tuning   chose {', '.join(counts)}"


def step_table(report: "Report") -> Table:
    """Return the table of steps."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1), expand=True)
    table.add_column("step", justify="right")
    table.add_column("family", no_wrap=True)
    table.add_column("kernel", no_wrap=True)
    table.add_column("operators", no_wrap=True, overflow="ellipsis", ratio=1)
    for title in ("code kB", "weights kB", "M MACs", "est. %"):
        table.add_column(title, justify="right", no_wrap=True)
    if report.manifest.layers:
        table.add_column("precision", justify="right", no_wrap=True)
    if report.step_ms:
        table.add_column("ms", justify="right", no_wrap=True)
    for row in report.rows:
        style = {"copy": "dim", "general": "yellow"}.get(row.mark)
        table.add_row(*_cells(row, precise=bool(report.manifest.layers)), style=style)
    return table


def compression_table(report: "Report") -> Table:
    """Return the table of what compression has done, step by step."""
    steps = report.manifest.compression
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column("compression")
    names = ["accuracy", *steps[0].robustness] if steps[0].accuracy is not None else []
    for title in ("weights kB", "est. ms", *names):
        table.add_column(title, justify="right", no_wrap=True)
    for step in steps:
        numbers = [step.accuracy, *step.robustness.values()] if names else []
        table.add_row(
            step.name,
            f"{step.weight_bytes / 1000:,.1f}",
            f"{step.estimated_ms:.3f}",
            *(f"{number:.4f}" for number in numbers),
        )
    return table


def _cells(row: Row, *, precise: bool) -> list[str]:
    cells = [
        str(row.number),
        f"{row.family} ({row.mark})" if row.mark == "general" else row.mark or row.family,
        row.kernel,
        row.title,
        f"{row.code_bytes / 1000:.1f}" if row.code_bytes else "shared",
        f"{row.constants_bytes / 1000:,.1f}",
        f"{row.macs / 1e6:,.3f}",
        f"{row.estimated_share * 100:.1f}",
    ]
    if precise:
        cells.append(row.precision)
    return cells if row.measured_ms is None else [*cells, f"{row.measured_ms:.4f}"]


def _reasons(report: "Report") -> Iterator[Text]:
    reasons = [f"{item.name}: {reason}" for item in report.manifest.passes for reason in item.reasons]
    if reasons:
        yield Text("why rules left nodes alone", style="bold")
    for line in reasons[:_REASONS]:
        yield Text(f"  {line}")
    if len(reasons) > _REASONS:
        yield Text(f"  and {len(reasons) - _REASONS} more in report.html")
