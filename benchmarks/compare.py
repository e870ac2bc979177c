"""Time Prunus and ONNX Runtime on the same networks, inputs and threads, in turns.

python -m benchmarks.compare --threads 1
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.engines import Engine, OnnxRuntime, Prunus, to_onnx
from benchmarks.machine import caption, processor, versions
from benchmarks.networks import NETWORKS

# Outputs of two float32 engines may differ by this share of the largest.
TOLERANCE = 1e-4
# Idle threads of the engine that ran before stop spinning in this time.
REST_S = 0.05


@dataclass(frozen=True)
class Comparison:
    """One network.

    Attributes:
        prunus_ms, onnxruntime_ms: median over the rounds of the median time of a run.
        speedup: median over the rounds of ONNX Runtime's time divided by ours.
    """

    network: str
    prunus_ms: float
    onnxruntime_ms: float
    speedup: float


def time_ms(run: Callable[[], object], *, seconds: float) -> float:
    """Return the median time of a run, in ms, over about `seconds` after a tenth of that to warm up."""
    warm_until = time.perf_counter() + seconds / 10
    while time.perf_counter() < warm_until:
        run()
    times_ns: list[int] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times_ns) < 5:
        start = time.perf_counter_ns()
        run()
        times_ns.append(time.perf_counter_ns() - start)
    return statistics.median(times_ns) / 1e6


def check(engine: Engine, expected: np.ndarray) -> None:
    """Refuse to time an engine whose output is wrong.

    Raises:
        ValueError: the output differs from `expected` by more than 1e-4 of its largest number.
    """
    engine.run()
    error = np.abs(engine.output - expected).max() / np.abs(expected).max()
    if not error <= TOLERANCE:
        raise ValueError(f"{engine.title} is off by {error:.2g} of the largest output")


def compare(network: str, *, threads: int, rounds: int, seconds: float) -> Comparison:
    """Time both engines on `network`: `rounds` rounds, in which each runs for `seconds`."""
    module, x = NETWORKS[network].make()
    with torch.no_grad():
        expected = module(x).numpy()
    artifact = prunus.compile(module, target="native", example_inputs=(x,), name="net")
    ours = Prunus(artifact, x.numpy(), threads=threads)
    theirs = OnnxRuntime(to_onnx(module, x), x.numpy(), threads=threads)
    check(ours, expected)
    check(theirs, expected)
    measured: list[tuple[float, float]] = []
    for _ in range(rounds):
        pair = []
        for engine in (ours, theirs):
            time.sleep(REST_S)
            pair.append(time_ms(engine.run, seconds=seconds))
        measured.append((pair[0], pair[1]))
    ours.close()
    return Comparison(
        network,
        prunus_ms=statistics.median(mine for mine, _ in measured),
        onnxruntime_ms=statistics.median(other for _, other in measured),
        speedup=statistics.median(other / mine for mine, other in measured),
    )


def table(rows: list[Comparison], *, foot: str) -> Table:
    """Return `rows` for the terminal, with their geometric means."""
    result = Table(title="Median time of one inference, ms", caption=foot)
    for column in ("network", "Prunus", "ONNX Runtime", "speed-up"):
        result.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        result.add_row(row.network, f"{row.prunus_ms:.3f}", f"{row.onnxruntime_ms:.3f}", f"{row.speedup:.2f}")
    result.add_section()
    day_zero = [row.speedup for row in rows if NETWORKS[row.network].day_zero]
    if day_zero:
        result.add_row(f"geometric mean of {len(day_zero)}", "", "", f"{statistics.geometric_mean(day_zero):.2f}")
    if len(day_zero) != len(rows):
        mean = statistics.geometric_mean(row.speedup for row in rows)
        result.add_row(f"geometric mean of all {len(rows)}", "", "", f"{mean:.2f}")
    return result


def main(
    networks: Annotated[list[str] | None, typer.Option(help="Networks to time; all of them by default.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of both engines.")] = 1,
    rounds: Annotated[int, typer.Option(help="Rounds, in which the engines take turns.")] = 5,
    seconds: Annotated[float, typer.Option(help="Time of each engine in each round.")] = 0.5,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
) -> None:
    """Time Prunus and ONNX Runtime on the same networks, inputs and threads, in turns."""
    unknown = sorted(set(networks or ()) - set(NETWORKS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    console = Console()
    rows = []
    for network in networks or NETWORKS:
        with console.status(f"{network} …"):
            rows.append(compare(network, threads=threads, rounds=rounds, seconds=seconds))
        console.print(f"{network}: {rows[-1].speedup:.2f}", style="dim")
    console.print(table(rows, foot=caption(threads=threads, rounds=rounds)))
    if json_path:
        figures = {"machine": processor(), "versions": versions(), "threads": threads, "rounds": rounds}
        json_path.write_text(json.dumps({**figures, "networks": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
