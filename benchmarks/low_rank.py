"""Factorise the text models: bytes, accuracy before and after training, and time of the compiled libraries.

python -m benchmarks.low_rank accuracy --data FOLDER --files FOLDER
python -m benchmarks.low_rank curve --data FOLDER

The original model teaches on inputs without labels: the training sentences of text-sentiment, and for text-magika,
whose data has no training part, other files of this machine; files of the test set are left out.
"""

import copy
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.compare import time_ms
from benchmarks.engines import Prunus
from benchmarks.figure import drawing, label_shares
from benchmarks.machine import caption
from benchmarks.quantization import accuracy, answers, calibration_samples
from benchmarks.trained import DATA, Case, magika, sentiment, tensors
from prunus.compression import LowRank
from prunus.passes import CANONICAL, Graph, run_passes
from prunus.passes.low_rank import low_rank
from prunus.passes.recovery import Batches, Distill, distill

# Files of each extension, so that no type rules the rest.
PER_EXTENSION = 60
SECONDS = 0.3
FOLDERS = [Path("/usr/share"), Path("/usr/lib"), Path("/usr/include"), Path(sys.prefix)]


@dataclass(frozen=True)
class Recipe:
    """How one model is treated.

    Attributes:
        calibration: samples that statistics are from.
        training: how the original teaches.
    """

    calibration: int
    training: Distill


RECIPES = {
    "text-sentiment": Recipe(4096, Distill(steps=1000, batch_size=64, learning_rate=1e-3)),
    # A step is 100 times as much work here.
    "text-magika": Recipe(1024, Distill(steps=150, batch_size=16, learning_rate=3e-4, frozen=True)),
}


def first_and_last_bytes(path: Path) -> np.ndarray:
    """Return what text-magika reads of a file: 1024 bytes from the start and from the end, (2048,) int32, 256 pads."""
    with path.open("rb") as file:
        start = file.read(4096).lstrip()[:1024]
        file.seek(max(0, path.stat().st_size - 4096))
        end = file.read(4096).rstrip()[-1024:]
    found = np.full(2048, 256, np.int32)
    found[: len(start)] = list(start)
    found[2048 - len(end) :] = list(end)
    return found


def other_files(folders: Sequence[Path], tested: np.ndarray, count: int) -> np.ndarray:
    """Return features of files of many extensions, (N, 2048) int32, without those that are tested."""
    generator = np.random.default_rng(0)
    by_extension: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and 64 <= path.stat().st_size < 3e7:
                by_extension.setdefault(path.suffix.lower(), []).append(path)
    chosen = [paths[index] for _, paths in sorted(by_extension.items())
              for index in generator.permutation(len(paths))[:PER_EXTENSION]]  # fmt: skip
    known = {sample.astype(np.int32).tobytes() for sample in tested}
    features = {one.tobytes(): one for one in map(first_and_last_bytes, chosen)}
    samples = np.stack([one for content, one in features.items() if content not in known])
    return samples[generator.permutation(len(samples))[:count]]


def unlabelled(case: Case, data: Path, folders: Sequence[Path]) -> np.ndarray:
    """Return inputs of a case that are not of its test set."""
    if case.name.startswith("text-magika"):
        return other_files(folders, case.samples, 4000)
    return calibration_samples(case, data, 1 << 20)


def times_ms(graphs: Sequence[Graph], case: Case, rounds: int) -> list[float]:
    """Compile graphs and time them in turns on one thread; return the median of each."""
    engines = [
        Prunus(prunus.compile(graph, example_inputs=tensors(case.example), name="net"), case.example[0], threads=1)
        for graph in graphs
    ]
    found = [[time_ms(engine.run, seconds=SECONDS) for engine in engines] for _ in range(rounds)]
    for engine in engines:
        engine.close()
    return [statistics.median(times) for times in zip(*found, strict=True)]


def score(case: Case, graph: Graph) -> float:
    """Return the share of the test set that a graph decides rightly."""
    assert case.labels is not None
    return accuracy(case.decide(answers(graph, case.samples), case.samples), case.labels)


def taught(case: Case, original: Graph, smaller: Graph, samples: np.ndarray, seeds: int) -> list[float]:
    """Let the original teach copies of a graph, one for each seed, and return their accuracies."""
    found = []
    for seed in range(seeds):
        learner = copy.deepcopy(smaller)
        training = replace(RECIPES[case.name.split(",")[0]].training, seed=seed)
        distill(learner, original, Batches([samples]), training)
        found.append(score(case, learner))
    return found


app = typer.Typer(add_completion=False)
Data = Annotated[Path, typer.Option(help="The folder of trained models.")]


@app.command("accuracy")
def accuracy_table(
    data: Data = DATA,
    files: Annotated[list[Path], typer.Option(help="Folders of files of all kinds, for text-magika.")] = FOLDERS,
    share: Annotated[float, typer.Option(help="Share of the bytes that stays.")] = 0.66,
    save: Annotated[str, typer.Option(help="time or bytes.")] = "time",
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    seeds: Annotated[int, typer.Option(help="Trainings, each with another seed.")] = 1,
    rounds: Annotated[int, typer.Option(help="Timings of each library.")] = 5,
) -> None:
    """Print what low rank does to bytes, accuracy and time, and what stays and why."""
    console = Console(width=200)
    table = Table(title="Low rank", caption=caption(bytes=share, save=save))
    for column in ("model", "samples", "bytes", "after", "accuracy", "cut", "trained", "lost points", "ms", "ms after"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in [*sentiment(data / "text-sentiment"), *magika(data / "text-magika")]:
        if models in case.name:
            table.add_row(*compare(case, unlabelled(case, data, files), share, save, seeds, rounds, console))
    console.print(table)


def compare(
    case: Case, samples: np.ndarray, share: float, save: str, seeds: int, rounds: int, console: Console
) -> list[str]:
    """Print the plan of one model and return the cells of its row."""
    recipe = RECIPES[case.name.split(",")[0]]
    original = run_passes(prunus.import_model(case.model, example_inputs=tensors(case.example)), CANONICAL)

    smaller = low_rank(original, LowRank(bytes=share, save=save), calibration=[samples[: recipe.calibration]])
    plan = smaller.meta["low_rank"]
    console.print(case.name, str(plan), sep="\n", markup=False, highlight=False)
    with console.status(f"{case.name}: training …"):
        trained = taught(case, original, smaller, samples, seeds)
    before_ms, after_ms = times_ms([original, smaller], case, rounds)
    before = score(case, original)
    spread = f" ({min(trained):.4f} to {max(trained):.4f})" if seeds > 1 else ""
    return [
        case.name, str(len(case.samples)), f"{plan.bytes_before:,}",
        f"{plan.bytes_after:,} ({plan.bytes_after / plan.bytes_before:.0%})",
        f"{before:.4f}", f"{score(case, smaller):.4f}", f"{statistics.mean(trained):.4f}{spread}",
        f"{100 * (before - statistics.mean(trained)):.2f}", f"{before_ms:.4f}", f"{after_ms:.4f}",
    ]  # fmt: skip


@app.command()
def curve(
    data: Data = DATA,
    figure: Annotated[Path, typer.Option(help="SVG file for the figure.")] = Path("docs/low_rank.svg"),
    seeds: Annotated[int, typer.Option(help="Trainings of each point.")] = 3,
) -> None:
    """Draw accuracy of text-sentiment over the share of its bytes that stays, before and after distillation."""
    console = Console()
    (case,) = sentiment(data / "text-sentiment")
    recipe, samples = RECIPES["text-sentiment"], unlabelled(case, data, [])
    original = run_passes(prunus.import_model(case.model, example_inputs=tensors(case.example)), CANONICAL)
    points = [(1.0, score(case, original), [score(case, original)])]
    for share in (0.85, 0.68, 0.51, 0.34, 0.18):
        smaller = low_rank(original, LowRank(bytes=share), calibration=[samples[: recipe.calibration]])
        plan = smaller.meta["low_rank"]
        trained = taught(case, original, smaller, samples, seeds)
        points.append((plan.bytes_after / plan.bytes_before, score(case, smaller), trained))
        console.print(f"{points[-1][0]:.0%}: {points[-1][1]:.4f} -> {', '.join(f'{one:.4f}' for one in trained)}")
    with drawing(figure) as axes:
        shares = [share for share, _, _ in points]
        means = [statistics.mean(trained) for _, _, trained in points]
        reach = [[mean - min(trained) for mean, (_, _, trained) in zip(means, points, strict=True)],
                 [max(trained) - mean for mean, (_, _, trained) in zip(means, points, strict=True)]]  # fmt: skip
        bars = axes.errorbar(shares, means, reach, marker="o", capsize=3, label=f"distilled, range of {seeds} seeds")
        colour = bars.lines[0].get_color()
        axes.plot(shares, [cut for _, cut, _ in points], marker="o", linestyle=":", color=colour, label="not trained")
        label_shares(axes, share_of="bytes", accuracy_of="of text-sentiment")


if __name__ == "__main__":
    torch.set_num_threads(1)
    app()
