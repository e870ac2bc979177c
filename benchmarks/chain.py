"""The whole chain on trained models: pruned, taught without labels, then integers with learned steps.

python -m benchmarks.chain --data FOLDER
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.compare import time_ms
from benchmarks.engines import Engine, OnnxRuntime, Prunus
from benchmarks.machine import caption
from benchmarks.pruning import Trained, trained_models
from benchmarks.trained import DATA
from prunus.passes.export_onnx import export_onnx

ROUNDS = 5


def main(
    data: Annotated[Path, typer.Option(help="The folder of trained models.")] = DATA,
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    macs: Annotated[float, typer.Option(help="Share of the multiplications that stays.")] = 0.6,
    steps: Annotated[int, typer.Option(help="Steps of distillation.")] = 9000,
    bits: Annotated[int, typer.Option(help="Bits of weights, 2 to 8; 4 take half a byte.")] = 4,
    training: Annotated[bool, typer.Option(help="Train with rounding in place.")] = True,
) -> None:
    """Print accuracy on whole test sets, bytes, and latency beside ONNX Runtime's float32."""
    table = Table(title="The chain, batch 1", caption=caption(rounds=ROUNDS, threads=1))
    for column in ("model", "accuracy", "lost points", "weights", "library", "ms", "ONNX Runtime ms", "speed-up"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in trained_models(data, models):
        with Console().status(model.case.name):
            table.add_row(*row(model, macs, steps, bits, training))
    Console().print(table)


def row(model: Trained, macs: float, steps: int, bits: int, training: bool) -> list[str]:
    """Compress one model and return its row."""
    example = torch.from_numpy(model.case.samples[:1])
    original = prunus.compile(model.graph, example_inputs=(example,), name="original")
    smaller = prunus.compile(
        model.graph, example_inputs=(example,), name="smaller", prune=prunus.Prune(macs=macs),
        quantize=prunus.Quantize(
            calibration=[model.samples[:500]], training="lsq" if training else None, bits=bits
        ),
        calibration=[model.samples], fine_tune=prunus.Distill(steps=steps),
    )  # fmt: skip
    before, after = (model.accuracy(library.run_samples) for library in (original, smaller))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "original.onnx"
        export_onnx(model.graph, path)
        engines: list[Engine] = [
            Prunus(smaller, example.numpy(), threads=1),
            OnnxRuntime(path, example.numpy(), threads=1),
        ]
        runs = [engine.run for engine in engines]
        times = [[time_ms(run, seconds=0.5) for run in runs] for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    weights = smaller.manifest.constants_bytes / original.manifest.constants_bytes
    library = smaller.report.library_bytes / original.report.library_bytes
    return [
        model.case.name.split(",")[0],
        f"{before:.4f} → {after:.4f}",
        f"{100 * (before - after):.2f}",
        f"{smaller.manifest.constants_bytes / 1000:.0f} kB, {weights:.0%}",
        f"{smaller.report.library_bytes / 1000:.0f} kB, {library:.0%}",
        f"{ours:.3f}",
        f"{theirs:.3f}",
        f"{theirs / ours:.2f}",
    ]


if __name__ == "__main__":
    typer.run(main)
