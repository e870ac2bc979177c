"""Half the multiplications of trained models, budgets of time, and the time of a plan.

python -m benchmarks.pruning accuracy --data FOLDER     python -m benchmarks.pruning latency     … planning     … curve
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import prunus
from benchmarks.engines import Prunus
from benchmarks.figure import drawing, label_shares
from benchmarks.machine import caption
from benchmarks.networks import NETWORKS
from benchmarks.quantization import calibration_samples
from benchmarks.trained import DATA, Case, cases, tensors
from prunus.passes import CANONICAL, Graph, run_passes
from prunus.passes.latency import latency_model
from prunus.passes.prune import PrunePlan, plan_pruning, prune
from prunus.passes.recovery import Batches, Distill, distill
from prunus.passes.recovery.divergence import divergence
from prunus.passes.trainable import TrainableGraph

TRAINED = ("fashion-resnet, module", "kws commands, module", "kws digits, module")
SHARES = (0.75, 0.5)
PORTION = 500
app = typer.Typer(add_completion=False)
Data = Annotated[Path, typer.Option(help="The folder of trained models.")]
Seeds = Annotated[int, typer.Option(help="How many seeds.")]
Models = Annotated[str, typer.Option(help="Only models with this in their name.")]


@dataclass(frozen=True)
class Trained:
    """A trained model with training samples of its own.

    Attributes:
        case: model and test set.
        graph: the model, canonical.
        samples, labels: of training.
    """

    case: Case
    graph: Graph
    samples: Tensor
    labels: Tensor

    @property
    def few(self) -> list[Tensor]:
        """Samples that importance is measured on, one a batch."""
        return list(self.samples[:64].split(1))

    def accuracy(self, run: Callable[..., Any]) -> float:
        """Share of the whole test set that is right."""
        portions = torch.from_numpy(self.case.samples).split(PORTION)
        found = torch.cat([run(portion).argmax(1) for portion in portions]).numpy()
        return float(np.mean(found == self.case.labels))

    def accuracy_of(self, graph: Graph) -> float:
        """Return the same of a graph."""
        with torch.no_grad():
            return self.accuracy(TrainableGraph(graph))


def trained_models(data: Path, models: str) -> list[Trained]:
    """Read the classifiers that come with training samples."""
    found = []
    for case in cases(data):
        if case.name in TRAINED and models in case.name:
            graph = run_passes(prunus.import_model(case.model, example_inputs=tensors(case.example)), CANONICAL)
            samples = torch.from_numpy(calibration_samples(case, data, 1_000_000))
            found.append(Trained(case, graph, samples, _labels(case, data)))
    return found


def _labels(case: Case, data: Path) -> Tensor:
    name = case.name.split(",")[0]
    path = data / "fashion-resnet/data.npz" if name == "fashion-resnet" else data / f"kws/{name.split()[1]}.npz"
    return torch.from_numpy(np.load(path)["y_train"].astype(np.int64))


def learn_labels(model: Trained, graph: Graph, seed: int, *, steps: int = 3000, learning_rate: float = 5e-4) -> None:
    """Train a pruned graph as a user with labels might: on them, beside the original's answers.

    Batch norm stays as it will be used, and dropout off: the module is in evaluation mode.
    """
    teacher, module = TrainableGraph(model.graph), TrainableGraph(graph)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=1e-4)
    for step in range(steps):
        for group in optimizer.param_groups:
            rate = min(1.0, 20 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))
            group["lr"] = learning_rate * rate
        chosen, other = (torch.randint(len(model.samples), (64,), generator=generator) for _ in range(2))
        share = torch.rand(64, 1, 1, 1, generator=generator)
        share[32:] = 1.0
        blended = model.samples[chosen] * share + model.samples[other] * (1 - share)
        with torch.no_grad():
            truth = teacher(blended)
        answer = module(blended)
        labelled = nn.functional.cross_entropy(answer[32:], model.labels[chosen[32:]], label_smoothing=0.05)
        loss = (answer - truth).square().mean() / truth.var() + 0.3 * divergence(answer, truth) + 0.1 * labelled
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


@app.command()
def accuracy(
    data: Data = DATA,
    models: Models = "",
    seeds: Seeds = 3,
    share: Annotated[float, typer.Option(help="Share of the multiplications that stays.")] = 0.5,
    steps: Annotated[int, typer.Option(help="Steps of distillation.")] = 9000,
) -> None:
    """Prune trained models to half their multiplications, with and without labels, over whole test sets."""
    table = Table(title=f"Accuracy at {share:.0%} of the multiplications", caption=caption(seeds=seeds, threads=1))
    for column in ("model", "samples", "original", "training", "pruned", "range", "lost points", "minutes of CPU"):
        table.add_column(column, justify="left" if column in ("model", "training") else "right")
    console = Console()
    for model in trained_models(data, models):
        before, name = model.accuracy_of(model.graph), model.case.name.split(",")[0]
        scores: dict[str, list[float]] = {"distill": [], "distill, then labels": []}
        minutes: dict[str, list[float]] = {way: [] for way in scores}
        for seed in range(seeds):
            start = time.process_time()
            for way, found in scores.items():
                with console.status(f"{name}, {way}, seed {seed}"):
                    if way == "distill":
                        graph = prune(model.graph, prunus.Prune(macs=share), calibration=model.few)
                        distill(graph, model.graph, Batches([model.samples]), Distill(seed=seed, steps=steps))
                    else:
                        learn_labels(model, graph, seed)
                found.append(model.accuracy_of(graph))
                minutes[way].append((time.process_time() - start) / 60)
                console.print(f"{name}, {way}, seed {seed}: {found[-1]:.4f}")
        for way, found in scores.items():
            mean = statistics.mean(found)
            table.add_row(
                name, str(len(model.case.samples)), f"{before:.4f}", way, f"{mean:.4f}",
                f"{min(found):.4f} – {max(found):.4f}", f"{100 * (before - mean):.2f}",
                f"{statistics.mean(minutes[way]):.1f}",
            )  # fmt: skip
    console.print(table)


def times_ms(run: Callable[[], object], *, seconds: float = 0.2) -> list[float]:
    """Return the time of each run, in ms of this thread's processor time, over about `seconds`.

    A run on a busy machine is longer than its work wherever others take turns with it.
    """
    run()
    found, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.thread_time_ns()
        run()
        found.append((time.thread_time_ns() - start) / 1e6)
    return found


def fast_ms(times: list[float]) -> float:
    """Return the time that a twentieth of the runs stay below: what else the machine does makes none faster."""
    return float(np.quantile(times, 0.05))


@app.command()
def latency(
    data: Data = DATA,
    models: Models = "",
    rounds: Annotated[int, typer.Option(help="Turns of original and pruned library.")] = 15,
) -> None:
    """Prune to shares of the original's time, and time both libraries in turns."""
    table = Table(
        title="Budgets of time on this machine", caption=caption(threads=1, rounds=rounds, times="of the processor")
    )
    for column in ("model", "budget", "planned", "measured", "off by", "original ms", "pruned ms", "seconds to prune"):
        table.add_column(column, justify="left" if column == "model" else "right")
    console = Console()
    for name, graph, x, samples in _timed(data, models):
        whole = Prunus(prunus.compile(graph, example_inputs=(x,), name="net"), x.numpy(), threads=1)
        for share in SHARES:
            start = time.perf_counter()
            with console.status(f"{name}, {share}"):
                smaller = prune(
                    graph, prunus.Prune(latency=share, importance="l1" if samples is None else "taylor"),
                    calibration=samples, latency=latency_model(prunus.load_target("native")),
                )  # fmt: skip
            seconds = time.perf_counter() - start
            plan: PrunePlan = smaller.meta["prune"]
            part = Prunus(prunus.compile(smaller, example_inputs=(x,), name="net"), x.numpy(), threads=1)
            pairs = [(times_ms(whole.run), times_ms(part.run)) for _ in range(rounds)]
            before, after = (fast_ms([time for pair in pairs for time in pair[which]]) for which in (0, 1))
            part.close()
            table.add_row(
                name, f"{share:.2f}", f"{plan.after / plan.before:.3f}", f"{after / before:.3f}",
                f"{after / before / share - 1:+.1%}", f"{before:.4f}", f"{after:.4f}", f"{seconds:.0f}",
            )  # fmt: skip
        whole.close()
    console.print(table)


def _timed(data: Path, models: str) -> list[tuple[str, Graph, Tensor, list[Tensor] | None]]:
    """Return name, graph, input and calibration samples of what is timed."""
    found: list[tuple[str, Graph, Tensor, list[Tensor] | None]] = []
    for model in trained_models(data, models):
        found.append((model.case.name.split(",")[0], model.graph, model.few[0], model.few))
    if models in "mobilenet-v2":
        module, x = NETWORKS["mobilenet-v2"].make()
        found.append(("mobilenet-v2", prunus.import_model(module, example_inputs=(x,)), x, None))
    return found


@app.command()
def planning(
    network: Annotated[str, typer.Option(help="A network of benchmarks/networks.py.")] = "resnet50", rounds: int = 5
) -> None:
    """Time the plan for half the multiplications."""
    module, x = NETWORKS[network].make()
    graph = prunus.import_model(module, example_inputs=(x,))
    wall, processor = [], []
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        plan = plan_pruning(graph, prunus.Prune(macs=0.5, importance="l1"))
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - cpu)
    table = Table(title=f"Planning {network}", caption=caption(rounds=rounds))
    for column in ("groups", "units", "fastest s", "median s", "median s of CPU"):
        table.add_column(column, justify="right")
    units = sum(len(part.group.units) for part in plan.parts)
    times = (min(wall), statistics.median(wall), statistics.median(processor))
    table.add_row(str(len(plan.parts)), str(units), *(f"{seconds:.2f}" for seconds in times))
    Console().print(table)


@app.command()
def curve(
    data: Data = DATA,
    models: Models = "kws digits",
    figure: Annotated[Path, typer.Option(help="SVG file for the figure.")] = Path("docs/pruning.svg"),
    steps: Annotated[int, typer.Option(help="Steps of distillation at each point.")] = 500,
) -> None:
    """Draw accuracy over the share of multiplications that stays, before and after distillation."""
    console = Console()
    with drawing(figure) as axes:
        for model in trained_models(data, models):
            name, points = model.case.name.split(",")[0], []
            for share in (0.8, 0.65, 0.5, 0.35, 0.25):
                graph = prune(model.graph, prunus.Prune(macs=share), calibration=model.few)
                cut = model.accuracy_of(graph)
                distill(graph, model.graph, Batches([model.samples]), Distill(steps=steps))
                points.append((share, cut, model.accuracy_of(graph)))
                console.print(f"{name} {share:.0%}: {cut:.4f} -> {points[-1][2]:.4f}")
            whole = model.accuracy_of(model.graph)
            shares = [1.0, *(point[0] for point in points)]
            (line,) = axes.plot(
                shares, [whole, *(point[2] for point in points)], marker="o", label=f"{name}, distilled"
            )
            axes.plot(
                shares, [whole, *(point[1] for point in points)], marker="o", linestyle=":", color=line.get_color(),
                label=f"{name}, not trained",
            )  # fmt: skip
        label_shares(axes, share_of="multiplications")


if __name__ == "__main__":
    torch.set_num_threads(1)
    app()
