"""Accuracy of integers by the bits of their weights: static, and with steps learned in training (LSQ) without labels.

python -m benchmarks.learned_steps --data FOLDER
python -m benchmarks.learned_steps --models "kws digits" --bits 8 … --bits 2 --figure docs/quantization.svg
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.figure import draw_bits
from benchmarks.machine import caption
from benchmarks.pruning import Trained, trained_models
from benchmarks.trained import DATA


def main(
    data: Annotated[Path, typer.Option(help="The folder of trained models.")] = DATA,
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    bits: Annotated[list[int], typer.Option(help="Bits of weights; several times for several rows.")] = [8, 4],  # noqa: B006
    steps: Annotated[int, typer.Option(help="Steps of distillation; a third of them with rounding in place.")] = 4500,
    figure: Annotated[Path | None, typer.Option(help="SVG file for a figure of one model.")] = None,
) -> None:
    """Print accuracy on whole test sets."""
    table = Table(title="All layers in integers", caption=caption(threads=1, steps=steps))
    for column in ("model", "bits of weights", "float32", "static", "learned steps", "lost points"):
        table.add_column(column, justify="left" if column == "model" else "right")
    console = Console()
    chosen = trained_models(data, models)
    if figure is not None and len(chosen) != 1:
        raise typer.BadParameter(f"a figure is of one model, {models!r} names {len(chosen)}", param_hint="--models")
    curves: dict[str, list[float]] = {"static": [], "learned steps": []}
    for model in chosen:
        name, before = model.case.name.split(",")[0], model.accuracy_of(model.graph)
        for width in bits:
            with console.status(f"{name}, {width} bits"):
                static, learned = integers(model, width), integers(model, width, prunus.Distill(steps=steps))
            curves["static"].append(static)
            curves["learned steps"].append(learned)
            table.add_row(
                name, str(width), f"{before:.4f}", f"{static:.4f}", f"{learned:.4f}", f"{100 * (before - learned):.2f}"
            )
    console.print(table)
    if figure is not None:
        draw_bits(curves, bits, figure, whole=before)


def integers(model: Trained, bits: int, lesson: prunus.Distill | None = None) -> float:
    """Return the accuracy of the library with all layers in integers, taught with rounding in place or static."""
    config = prunus.Quantize(
        calibration=[model.samples[:500]], training="lsq" if lesson else None, bits=bits, where="everywhere"
    )
    library = prunus.compile(
        model.graph, example_inputs=(torch.from_numpy(model.case.samples[:1]),), quantize=config,
        calibration=[model.samples], fine_tune=lesson,
    )  # fmt: skip
    return model.accuracy(library.run_samples)


if __name__ == "__main__":
    typer.run(main)
