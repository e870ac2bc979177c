"""prunus tune."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from prunus.cli.console import AsJson, console, print_json, progress
from prunus.cli.models import Constants, ModelArgument, Shapes, read_model

if TYPE_CHECKING:
    from prunus.backends.tune.report import TuningReport


def tune(
    model: ModelArgument,
    target: Annotated[str, typer.Option(help="A name from `prunus targets`, or a TOML file of your own.")] = "native",
    minutes: Annotated[float, typer.Option(min=0, help="How long to search; Ctrl-C keeps what was found.")] = 5.0,
    records: Annotated[
        Path | None, typer.Option(help="File of records; by default the one that every compilation reads.")
    ] = None,
    shape: Shapes = None,
    constant: Constants = None,
    as_json: AsJson = False,
) -> None:
    """Search for faster kernels of a model and keep what was found for later compilations."""
    import prunus

    given = read_model(model, shape, constant)
    with progress() as show:
        artifact = prunus.compile(
            given.model, target=target, name="tuned", tune=prunus.Tune(minutes=minutes, records=records),
            progress=show, **given.arguments,
        )  # fmt: skip
    report: TuningReport | None = artifact.module.meta.get("tuning")
    if report is None:
        raise typer.BadParameter("0 minutes search nothing", param_hint="--minutes")
    if as_json:
        print_json(report.as_dict())
        return
    out = console()
    out.print(_table(report))
    for line in _lines(report):
        out.print(line, highlight=False, markup=False)


def _table(report: "TuningReport") -> Table:
    unit = {"measured": "µs", "estimated": "kilocycles, estimated"}[report.source]
    table = Table(title=f"kernels for {report.target}, the costliest first")
    for title in ("family", "layer"):
        table.add_column(title)
    for title in ("uses", unit, "share", "tried", "gain"):
        table.add_column(title, justify="right")
    for row in report.kernels:
        gain = f"{row.gain:.2f}" if row.gain > 1 else ""
        cells = (f"{row.cost / 1000:.1f}", f"{row.share:.1%}", f"{row.tried} of {row.knobs}", gain)
        table.add_row(row.family, row.layer, str(row.uses), *cells)
    return table


def _lines(report: "TuningReport") -> list[str]:
    how = ", ".join(f"{count} {verdict.value}" for verdict, count in sorted(report.verdicts.items()))
    lines = [f"{sum(report.verdicts.values())} trials in {report.seconds:.0f} s: {how or 'nothing left to try'}"]
    if report.stopped:
        lines.append("stopped early; what was found is kept")
    if report.together is not None:
        lines.append(f"the whole network, before and after in turns: {report.together:.3f} times as fast")
    return [*lines, *report.remarks]
