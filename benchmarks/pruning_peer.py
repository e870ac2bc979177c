"""Trained models at half their multiplications, cut by Prunus and by Torch-Pruning (after pip install torch-pruning).

python -m benchmarks.pruning_peer --data FOLDER

Both measure importance on the same 64 training samples, Torch-Pruning's first-order Taylor expansion with their labels,
that of Prunus without; both spread the cut over the network as they see fit, Torch-Pruning also evenly over all layers.
Batch norms of either are measured anew on those samples. Then the original teaches either, in the same way.
"""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

import prunus
from benchmarks.machine import caption
from benchmarks.pruning import Data, Models, Seeds, Trained, trained_models
from benchmarks.trained import DATA, tensors
from prunus.passes import CANONICAL, Graph, run_passes
from prunus.passes.prune import plan_pruning, prune
from prunus.passes.recovery import Batches, Distill, distill, recalibrate_batchnorm

# Torch-Pruning cuts in steps of a hundredth of the channels, until few enough multiplications are left.
STEPS = 100
LEAST_SHARE = 0.05
WIDTH = 120


@dataclass(frozen=True)
class Way:
    """One way of choosing what goes: takes a model and the share of multiplications that stays."""

    engine: str
    importance: str
    cut: Callable[[Trained, float], Graph]


def by_prunus(importance: str, model: Trained, share: float) -> Graph:
    """Prune with the defaults of Prunus."""
    return prune(model.graph, prunus.Prune(macs=share, importance=importance), calibration=model.few)


def by_torch_pruning(importance: str, everywhere: bool, model: Trained, share: float) -> Graph:
    """Prune with Torch-Pruning, but not what the last layer puts out.

    Args:
        everywhere: whether channels of all layers are ranked together, or each layer loses the same share.
    """
    import torch_pruning

    assert isinstance(model.case.model, nn.Module)
    module, (x,) = copy.deepcopy(model.case.model), tensors(model.case.example)
    count = torch_pruning.utils.count_ops_and_params
    before = left = count(module, x)[0]
    pruner = torch_pruning.pruner.BasePruner(
        module, x, importance=_importance(importance), global_pruning=everywhere, iterative_steps=STEPS,
        pruning_ratio=1 - LEAST_SHARE, max_pruning_ratio=1 - LEAST_SHARE,
        ignored_layers=[layer for layer in module.modules() if isinstance(layer, nn.Linear)],
    )  # fmt: skip
    while left > share * before:
        if importance == "taylor":
            module.requires_grad_(True).zero_grad()
            samples, labels = model.samples[: len(model.few)], model.labels[: len(model.few)]
            nn.functional.cross_entropy(module(samples), labels).backward()
        pruner.step()
        left = count(module, x)[0]
    graph = run_passes(prunus.import_model(module, example_inputs=(x,)), CANONICAL)
    return recalibrate_batchnorm(graph, Batches(model.few))


def _importance(name: str) -> Any:
    from torch_pruning import importance

    return importance.GroupTaylorImportance() if name == "taylor" else importance.GroupMagnitudeImportance(p=2)


def multiplications(graph: Graph) -> float:
    """Return the multiplications of `graph` as Prunus counts them."""
    return plan_pruning(graph, prunus.Prune(macs=1.0, importance="l2")).before


WAYS = [
    Way("Prunus", "taylor", partial(by_prunus, "taylor")),
    Way("Torch-Pruning", "taylor", partial(by_torch_pruning, "taylor", True)),
    Way("Torch-Pruning", "taylor, evenly", partial(by_torch_pruning, "taylor", False)),
    Way("Prunus", "l2", partial(by_prunus, "l2")),
    Way("Torch-Pruning", "l2", partial(by_torch_pruning, "l2", True)),
    Way("Torch-Pruning", "l2, evenly", partial(by_torch_pruning, "l2", False)),
]


def taught(model: Trained, graph: Graph, seed: int, steps: int) -> float:
    """Return the accuracy after the original has taught a copy of `graph`."""
    pupil = copy.deepcopy(graph)
    distill(pupil, model.graph, Batches([model.samples]), Distill(seed=seed, steps=steps))
    return model.accuracy_of(pupil)


def main(
    data: Data = DATA,
    models: Models = "",
    seeds: Seeds = 3,
    share: Annotated[float, typer.Option(help="Share of the multiplications that stays.")] = 0.5,
    steps: Annotated[int, typer.Option(help="Steps of distillation.")] = 2000,
) -> None:
    """Print accuracy right after the cut, and after the same lessons."""
    torch.set_num_threads(1)
    table = Table(title=f"At most {share:.0%} of the multiplications", caption=caption(seeds=seeds, steps=steps))
    for column in ("model", "original", "cut by", "importance", "left", "seconds", "accuracy", "taught", "range"):
        table.add_column(column, justify="left" if column in ("model", "cut by", "importance") else "right")
    console = Console(width=max(Console().width, WIDTH))
    for model in trained_models(data, models):
        name, before = model.case.name.split(",")[0], model.accuracy_of(model.graph)
        for way in WAYS:
            with console.status(f"{name}, {way.engine}, {way.importance}"):
                start = time.perf_counter()
                graph = way.cut(model, share)
                seconds = time.perf_counter() - start
                scores = [taught(model, graph, seed, steps) for seed in range(seeds)]
            left = multiplications(graph) / multiplications(model.graph)
            cells = [
                way.engine, way.importance, f"{left:.3f}", f"{seconds:.0f}", f"{model.accuracy_of(graph):.4f}",
                f"{statistics.mean(scores):.4f}", f"{min(scores):.4f} – {max(scores):.4f}",
            ]  # fmt: skip
            table.add_row(name, f"{before:.4f}", *cells)
            console.print(name, *cells)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
