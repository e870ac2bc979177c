"""prunus bench."""

import statistics
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from prunus.artifact import Artifact
from prunus.cli.arrays import read_inputs
from prunus.cli.console import AsJson, console, print_json
from prunus.cli.run import FolderArgument, Input, Threads


def bench(
    folder: FolderArgument,
    given: Input = "random",
    threads: Threads = 1,
    rounds: Annotated[
        int, typer.Option(min=1, help="Runs that are measured, after a tenth as many that are not.")
    ] = 100,
    html: Annotated[Path | None, typer.Option(help="File for the report with measured times.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a compiled model, as a whole and step by step; medians of all rounds."""
    import prunus
    from prunus.backends.codegen.files import write_files

    artifact = prunus.load(folder, threads=threads)
    inputs = read_inputs(artifact.manifest, given)
    step_ms = measure_steps(artifact, inputs, rounds)
    run_ms = measure(artifact, inputs, rounds)
    report = artifact.report.with_times(step_ms)
    if html is not None:
        write_files(html.parent, {html.name: report.html.encode()})
    median = statistics.median(run_ms)
    if as_json:
        spread = {"median_ms": median, "fastest_ms": min(run_ms), "slowest_ms": max(run_ms)}
        print_json({**spread, "threads": threads, "rounds": rounds, **report.as_dict()})
        return
    out = console()
    for part in report.renderables():
        out.print(part)
    out.print(
        f"median {median:.4f} ms of {rounds} runs on {threads} thread{'s' if threads > 1 else ''}; "
        f"fastest {min(run_ms):.4f} ms, slowest {max(run_ms):.4f} ms",
        highlight=False,
    )


def measure(artifact: Artifact, inputs: list[np.ndarray], rounds: int) -> list[float]:
    """Return milliseconds of each of `rounds` runs, measured around the call from Python."""
    for _ in range(rounds // 10 + 1):
        artifact(*inputs)
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        artifact(*inputs)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def measure_steps(artifact: Artifact, inputs: list[np.ndarray], rounds: int) -> list[float]:
    """Return the median milliseconds of each step.

    Raises:
        TargetError: the library is for another processor; an emulator's times say nothing of it.
    """
    for _ in range(rounds // 10 + 1):
        artifact.profile(*inputs)
    step_ns = np.array([artifact.profile(*inputs) for _ in range(rounds)])
    return [float(ns) / 1e6 for ns in np.median(step_ns, axis=0)]
