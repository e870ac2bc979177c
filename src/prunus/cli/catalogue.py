"""prunus targets and prunus passes: what there is to choose from."""

import inspect as python_inspect
from typing import Any

from rich.table import Table

from prunus.cli.console import AsJson, console, print_json
from prunus.errors import TargetError


def targets(as_json: AsJson = False) -> None:
    """List the processors that Prunus compiles for."""
    from prunus.targets import load_target, target_names

    rows: list[dict[str, Any]] = []
    for name in target_names():
        try:
            target = load_target(name)
        except TargetError as error:
            rows.append({"name": name, "title": error.found})
            continue
        rows.append(
            {
                "name": name,
                "title": target.title,
                "cores": target.cores,
                "vector_bits": target.vector_bits,
                "features": sorted(target.features),
                "glibc": target.glibc,
            }
        )
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("target", "processor", "cores", "vector bits", "glibc from", "features"):
        table.add_column(column, overflow="fold", no_wrap=column == "target")
    for row in rows:
        cells = ("name", "title", "cores", "vector_bits", "glibc")
        table.add_row(*(str(row.get(key, "")) for key in cells), " ".join(row.get("features", ())))
    console().print(table)


def passes(as_json: AsJson = False) -> None:
    """List the passes that every compilation runs, installed ones among them, in order."""
    from prunus.passes import default_passes
    from prunus.passes.run import pass_name

    rows = [{"name": pass_name(one), "does": _first_line(one), "module": one.__module__} for one in default_passes()]
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("pass", "what it does"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["name"], row["does"])
    console().print(table)


def _first_line(one_pass: object) -> str:
    return (python_inspect.getdoc(one_pass) or "").partition("\n")[0]
