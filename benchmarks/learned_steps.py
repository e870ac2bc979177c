"""Accuracy of int8 whose steps are learned in training (LSQ), with weights of 8 and of 4 bits, taught without labels.

python -m benchmarks.learned_steps --data FOLDER
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.machine import caption
from benchmarks.pruning import trained_models
from benchmarks.trained import DATA

BITS = (8, 4)


def main(
    data: Annotated[Path, typer.Option(help="The folder of trained models.")] = DATA,
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    steps: Annotated[int, typer.Option(help="Steps of distillation; a third of them with rounding in place.")] = 4500,
) -> None:
    """Print accuracy on whole test sets."""
    table = Table(title="Learned steps, all layers in integers", caption=caption(threads=1))
    for column in ("model", "bits of weights", "float32", "integers", "lost points"):
        table.add_column(column, justify="left" if column == "model" else "right")
    console = Console()
    for model in trained_models(data, models):
        name = model.case.name.split(",")[0]
        before = model.accuracy_of(model.graph)
        for bits in BITS:
            with console.status(f"{name}, {bits} bits"):
                config = prunus.Quantize(
                    calibration=[model.samples[:500]], training="lsq", bits=bits, where="everywhere"
                )
                library = prunus.compile(
                    model.graph, example_inputs=(torch.from_numpy(model.case.samples[:1]),), quantize=config,
                    calibration=[model.samples], fine_tune=prunus.Distill(steps=steps),
                )  # fmt: skip
                after = model.accuracy(library.run_samples)
            table.add_row(name, str(bits), f"{before:.4f}", f"{after:.4f}", f"{100 * (before - after):.2f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
