"""Tune the networks, then time untuned and tuned libraries in turns.

python -m benchmarks.tuning --minutes 10 --records /tmp/records.jsonl --figure docs/tuning.svg
"""

import json
import statistics
import tempfile
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
from benchmarks.compare import TOLERANCE
from benchmarks.engines import Prunus
from benchmarks.figure import draw_speedups
from benchmarks.machine import caption, processor, versions
from benchmarks.networks import NETWORKS


@dataclass(frozen=True)
class Tuned:
    """One network.

    Attributes:
        untuned_ms, tuned_ms: median over the rounds of the median processor time of a run.
        speedup: median over the rounds of the untuned time divided by the tuned one.
        trials: candidates that were tried, in `tuning_s` seconds.
        growth: bytes of the tuned library divided by those of the untuned one.
        error: largest difference of their outputs, as a share of the largest output.
    """

    network: str
    untuned_ms: float
    tuned_ms: float
    speedup: float
    trials: int
    tuning_s: float
    growth: float
    error: float


def time_ms(run: Callable[[], object], *, seconds: float) -> float:
    """Return the median time that this thread computes for a run, in ms, over about `seconds`.

    Unlike the time on the wall, it leaves out what others do on the processor meanwhile.
    """
    times_ns: list[int] = []
    until = time.perf_counter() + seconds
    run()
    while time.perf_counter() < until or len(times_ns) < 5:
        start = time.thread_time_ns()
        run()
        times_ns.append(time.thread_time_ns() - start)
    return statistics.median(times_ns) / 1e6


def measure(network: str, *, records: Path, minutes: float, rounds: int, seconds: float) -> Tuned:
    """Tune `network` for so many minutes, with `records`, and time it before and after in turns."""
    module, x = NETWORKS[network].make()

    def build(tune: prunus.Tune) -> prunus.Artifact:
        return prunus.compile(module, target="native", example_inputs=(x,), name="net", tune=tune)

    with tempfile.TemporaryDirectory() as folder:
        untuned = build(prunus.Tune(minutes=0, records=Path(folder, "none")))
    tuned = build(prunus.Tune(minutes=minutes, records=records))
    report = tuned.module.meta.get("tuning")
    engines = [Prunus(artifact, x.numpy(), threads=1) for artifact in (untuned, tuned)]
    for engine in engines:
        engine.run()
    before, after = (engine.output.copy() for engine in engines)
    error = float(np.abs(before - after).max() / np.abs(before).max())
    if not error <= TOLERANCE:
        raise ValueError(f"the tuned {network} is off by {error:.2g} of the largest output")
    measured: list[tuple[float, float]] = []
    for number in range(rounds):
        turn = engines if number % 2 == 0 else engines[::-1]
        times = [time_ms(engine.run, seconds=seconds) for engine in turn]
        measured.append((times[0], times[1]) if number % 2 == 0 else (times[1], times[0]))
    for engine in engines:
        engine.close()
    return Tuned(
        network,
        untuned_ms=statistics.median(first for first, _ in measured),
        tuned_ms=statistics.median(second for _, second in measured),
        speedup=statistics.median(first / second for first, second in measured),
        trials=sum(report.verdicts.values()) if report else 0,
        tuning_s=report.seconds if report else 0.0,
        growth=tuned.report.library_bytes / untuned.report.library_bytes,
        error=error,
    )


def table(rows: list[Tuned], *, foot: str) -> Table:
    """Return `rows` for the terminal, with their geometric mean."""
    result = Table(title="Median processor time of one inference, ms", caption=foot)
    for column in ("network", "untuned", "tuned", "speed-up", "library", "trials", "s a trial"):
        result.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        each = f"{row.tuning_s / row.trials:.2f}" if row.trials else ""
        result.add_row(
            row.network, f"{row.untuned_ms:.3f}", f"{row.tuned_ms:.3f}", f"{row.speedup:.3f}", f"x {row.growth:.2f}",
            str(row.trials), each,
        )  # fmt: skip
    result.add_section()
    mean = statistics.geometric_mean(row.speedup for row in rows)
    result.add_row(f"geometric mean of {len(rows)}", "", "", f"{mean:.3f}", "", "", "")
    return result


def main(
    networks: Annotated[list[str] | None, typer.Option(help="Networks; all of them by default.")] = None,
    minutes: Annotated[float, typer.Option(help="Time of tuning, of all networks together.")] = 10.0,
    records: Annotated[Path | None, typer.Option(help="File of records; a new one by default.")] = None,
    rounds: Annotated[int, typer.Option(help="Rounds, in which the libraries take turns.")] = 9,
    seconds: Annotated[float, typer.Option(help="Time of each library in each round.")] = 0.3,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the speed-ups into this SVG file.")] = None,
) -> None:
    """Tune the networks, then time untuned and tuned libraries in turns."""
    chosen = networks or list(NETWORKS)
    unknown = sorted(set(chosen) - set(NETWORKS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    console, rows, left = Console(), list[Tuned](), 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        path = records or Path(folder, "records.jsonl")
        for index, network in enumerate(chosen):
            # What small networks leave over is for those behind them.
            share = left / (len(chosen) - index) / 60
            row = measure(network, records=path, minutes=share, rounds=rounds, seconds=seconds)
            left = max(0.0, left - row.tuning_s)
            rows.append(row)
            console.print(f"{network}: {row.speedup:.3f}", style="dim")
    console.print(table(rows, foot=caption(minutes=minutes, threads=1, rounds=rounds)))
    if json_path:
        figures = {"machine": processor(), "versions": versions(), "minutes": minutes, "rounds": rounds}
        json_path.write_text(json.dumps({**figures, "networks": [asdict(row) for row in rows]}, indent=1) + "\n")
    if figure:
        draw_speedups({row.network: row.speedup for row in rows}, figure, title=f"{minutes:g} minutes of tuning")


if __name__ == "__main__":
    typer.run(main)
