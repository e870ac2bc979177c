"""Estimate cycles of whole networks on ARM cores, int8 against float32: the sum over their steps, one core, one thread.

python -m benchmarks.quantized_cycles

Each distinct kernel runs under the emulator; the estimate is the tuner's, with all its limits (`docs/tuning.md`).
"""

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.machine import caption
from benchmarks.networks import NETWORKS
from benchmarks.quantized_speed import calibration
from prunus.backends.plan.knobs import first_guess
from prunus.backends.tune.builder import Builder
from prunus.backends.tune.emulation import CycleCount
from prunus.backends.tune.task import tasks_of
from prunus.backends.tune.trial import Trials
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.quantize import quantize
from prunus.targets import load_target

ESTIMATED = ("mobilenet-v2", "resnet18")
_LIMIT_S = 120.0


def network_cycles(graph: Graph, target: str) -> float:
    """Return the estimated cycles of all steps of a graph that the passes have left."""
    machine = load_target(target)
    _, tasks = tasks_of(graph, machine, first_guess)
    with tempfile.TemporaryDirectory() as folder:
        builder, meter = Builder(Path(folder)), CycleCount(Trials(machine, limit_s=_LIMIT_S), machine)
        return sum(task.uses * meter.cost(builder.build(task, task.candidates[0]).candidate) for task in tasks)


def main(
    networks: Annotated[list[str] | None, typer.Option(help="Networks; the two large ones by default.")] = None,
    targets: Annotated[list[str] | None, typer.Option(help="ARM targets of 64 bits.")] = None,
    bits: Annotated[int, typer.Option(help="Bits of the weights.")] = 8,
) -> None:
    """Print estimated cycles of int8 and of float32."""
    torch.set_num_threads(1)
    table = Table(title="Estimated cycles, millions", caption=caption(bits=bits))
    for column in ("network", "target", "float32", "int8", "ratio"):
        table.add_column(column, justify="left" if column in ("network", "target") else "right")
    for name in networks or ESTIMATED:
        module, x = NETWORKS[name].make()
        graph = run_passes(prunus.import_model(module, example_inputs=(x,)), DEFAULT, (x,))
        for target in targets or ("rpi4", "rpi5"):
            whole = quantize(graph, prunus.Quantize(calibration=[calibration(x)], bits=bits), target=target)
            found = [network_cycles(each, target) for each in (graph, run_passes(whole, DEFAULT, (x,)))]
            cells = (f"{cycles / 1e6:.1f}" for cycles in found)
            table.add_row(name, load_target(target).title, *cells, f"{found[1] / found[0]:.3f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
