"""prunus run."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from prunus.cli.arrays import read_inputs, write_outputs
from prunus.cli.console import AsJson, console, print_json
from prunus.manifest import TensorRecord

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that `prunus compile` wrote.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that share the work.")]
Input = Annotated[str, typer.Option("--input", help="A .npy file, a .npz file with arrays by name, or `random`.")]


def run(
    folder: FolderArgument,
    given: Input = "random",
    output: Annotated[Path | None, typer.Option(help="A .npz file, or .npy for one output.")] = None,
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Run a compiled model once; libraries for other processors run under their emulator."""
    import prunus

    artifact = prunus.load(folder, threads=threads)
    results = artifact(*read_inputs(artifact.manifest, given))
    outputs = list(results) if isinstance(results, tuple) else [results]
    if output is not None:
        write_outputs(artifact.manifest, outputs, output)
    rows = [_describe(record, array) for record, array in zip(artifact.manifest.outputs, outputs, strict=True)]
    if as_json:
        print_json({"outputs": rows, "written": str(output) if output else None})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("output", "dtype", "shape", "smallest", "largest", "first values"):
        table.add_column(column)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console().print(table)


def _describe(record: TensorRecord, array: np.ndarray) -> dict[str, Any]:
    return {
        "name": record.name,
        "dtype": record.dtype,
        "shape": list(record.shape),
        "smallest": array.min().item() if array.size else None,
        "largest": array.max().item() if array.size else None,
        "first_values": array.reshape(-1)[:4].tolist(),
    }


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)
