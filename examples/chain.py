"""Compress a trained model step by step, without labels, and print what each step leaves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from examples.trained import Trained
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import prunus
from benchmarks.compare import time_ms
from benchmarks.engines import OnnxRuntime, Prunus
from benchmarks.machine import caption

BOARD = "rpi4"


def print_chain(
    console: Console, trained: Trained, shrink: prunus.Prune | prunus.LowRank, lesson: prunus.Distill
) -> None:
    """Shrink, teach and quantise; every other sample teaches, without its label, and the others judge.

    Libraries for this machine are timed and judged; those for the board are estimated.
    """
    samples = trained.samples()
    x, labels = torch.from_numpy(np.concatenate(samples.inputs)), torch.from_numpy(samples.labels)
    calibration, judged, truth = [x[0::2]], x[1::2], labels[1::2]

    def accuracy(run: Callable[..., Any]) -> float:
        return float((run(judged).argmax(1) == truth).float().mean())

    def compiled(model: Any, target: str, **options: Any) -> prunus.Artifact:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("")
            return prunus.compile(
                model, target=target, example_inputs=(x[:1],), name=trained.name, calibration=calibration,
                progress=lambda step, done, total: progress.update(
                    task, description=f"{target}: {step}", completed=done, total=total
                ),
                **options,
            )  # fmt: skip

    quantize = prunus.Quantize(calibration=calibration)
    step, done = ("prune", "pruned") if isinstance(shrink, prunus.Prune) else ("low_rank", "factorised")
    smaller = compiled(trained.path, "native", **{step: shrink}, fine_tune=lesson, evaluate=accuracy, max_drop=0.02)
    steps: dict[str, tuple[Any, dict[str, Any]]] = {
        "as it is": (trained.path, {}),
        f"{done} and taught": (smaller.module, {}),
        "in int8": (smaller.module, {"quantize": quantize}),
    }
    table = Table(title=f"{trained.task}: step by step, batch 1, one thread", caption=caption())
    for column in ("", "weights", "library", "latency", f"estimated, {BOARD}", f"accuracy of {len(truth)}"):
        table.add_column(column, justify="right" if column else "left")
    for name, (model, options) in steps.items():
        here, board = (compiled(model, target, **options) for target in ("native", BOARD))
        table.add_row(
            name,
            f"{here.manifest.constants_bytes / 1000:.0f} kB",
            f"{here.report.library_bytes / 1000:.0f} kB",
            f"{time_ms(Prunus(here, samples.inputs[0], threads=1).run, seconds=1):.3f} ms",
            f"{estimated_ms(board):.2f} ms",
            f"{accuracy(here.run_samples):.4f}",
        )
    table.add_section()
    milliseconds = time_ms(OnnxRuntime(trained.path, samples.inputs[0], threads=1).run, seconds=1)
    table.add_row("ONNX Runtime, float32", "", "", f"{milliseconds:.3f} ms", "", "")
    console.print(table)


def estimated_ms(artifact: prunus.Artifact) -> float:
    """Return the planner's estimate of a run on one core of the artifact's target."""
    cycles = sum(step.cost_cycles for step in artifact.manifest.steps)
    return cycles / (prunus.load_target(artifact.manifest.target).clock_mhz * 1000)
