"""How much a channel matters: a table of small measures.

Each measure gives every index along one dimension of a parameter a number. A unit's importance is the sum over all that
it takes, so that it can be set against all that it saves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from prunus.errors import InputError, PruneError, did_you_mean
from prunus.passes.graph import inputs
from prunus.passes.prune.atoms import Labels
from prunus.passes.prune.groups import Group
from prunus.passes.prune.rules.registry import Role
from prunus.passes.prune.scene import Scene

Numbers = npt.NDArray[np.float64]
Scores = tuple[Labels, Tensor]
"""Classes, and rows of numbers for them: one row for each sample, or a single one."""


@dataclass(frozen=True)
class Measure:
    """One way of telling how much an index matters.

    Attributes:
        kinds: which dimensions of parameters it looks at; the next kind where a unit has none of the first.
        of: takes the scene, a role and the number of a calibration batch.
        needs_batches: whether it needs calibration inputs; without them it is asked once, for batch 0.
    """

    kinds: tuple[str, ...]
    of: Callable[[Scene, Role, int], Scores]
    needs_batches: bool = False


def _slices(tensor: Tensor, dim: int) -> Tensor:
    """Return one row for each index along `dim`."""
    return tensor.detach().movedim(dim, 0).reshape(tensor.shape[dim], -1).double()


def _relative(numbers: Tensor) -> Tensor:
    """Divide by the mean, so that layers of different scale can be compared."""
    mean = numbers.mean()
    return (numbers / mean if mean > 0 else numbers)[None]


def _of_weights(numbers: Callable[[Tensor], Tensor]) -> Callable[[Scene, Role, int], Scores]:
    """Make a measure from a function of the rows of a parameter."""

    def measure(scene: Scene, role: Role, batch: int) -> Scores:
        return _classes(scene, role), _relative(numbers(_slices(scene.tensor(role), role.dim)))

    return measure


def _classes(scene: Scene, role: Role) -> Labels:
    return scene.trace.of(role.parameter)[role.dim]


def _l1(rows: Tensor) -> Tensor:
    return rows.abs().sum(dim=1)


def _l2(rows: Tensor) -> Tensor:
    return rows.square().sum(dim=1).sqrt()


def _geometric_median(rows: Tensor) -> Tensor:
    """Sum of distances to the other rows: small near the geometric median, where others can stand in."""
    return torch.cdist(rows, rows).sum(dim=1)


def _taylor(scene: Scene, role: Role, batch: int) -> Scores:
    """Change of the loss to first order when a layer reads zero at an index: the sum of value times gradient.

    Where a layer reads other than through `reads`, the same sum over weights, spread evenly over the samples.
    """
    seen = scene.observe(batch, gradients=True)
    if role.reads and role.reads[0] in seen.of_values:
        name, dim = role.reads
        products = (seen.values[name] * seen.of_values[name]).movedim(dim, 0)
        lead = scene.sample_dim(name)
        if lead is not None and lead != dim:
            by_sample = (
                products.movedim(lead + (lead < dim), 1).flatten(2).sum(dim=2) if products.dim() > 2 else products
            )
            return scene.trace.of(name)[dim], by_sample.t().double()
        return scene.trace.of(name)[dim], products.reshape(len(products), -1).sum(dim=1)[None].double() / scene.samples
    tensor = scene.tensor(role)
    gradient = seen.of_parameters.get(id(tensor))
    product = torch.zeros_like(tensor) if gradient is None else tensor.detach() * gradient
    return _classes(scene, role), _slices(product, role.dim).sum(dim=1)[None] / scene.samples


def _activation(scene: Scene, role: Role, batch: int) -> Scores:
    """Mean magnitude of what the layer reads at an index."""
    seen = scene.observe(batch, gradients=False)
    if role.reads is None or role.reads[0] not in seen.values:
        return _classes(scene, role), _relative(_l1(_slices(scene.tensor(role), role.dim)))
    name, dim = role.reads
    return scene.trace.of(name)[dim], _relative(_slices(seen.values[name].abs(), dim).mean(dim=1))


def _random(scene: Scene, role: Role, batch: int) -> Scores:
    generator = torch.Generator().manual_seed(scene.seed + 1_000_003 * scene.trace.roles.index(role))
    classes = _classes(scene, role)
    return classes, torch.rand(1, len(classes), generator=generator, dtype=torch.float64)


MEASURES: Mapping[str, Measure] = {
    # Li et al. 2017, "Pruning filters for efficient ConvNets" (arXiv:1608.08710), and its square.
    "l1": Measure(("out", "in"), _of_weights(_l1)),
    "l2": Measure(("out", "in"), _of_weights(_l2)),
    # Liu et al. 2017, "Learning efficient convolutional networks through network slimming" (arXiv:1708.06519).
    "batch_norm": Measure(("scale", "out", "in"), _of_weights(_l1)),
    # Molchanov et al. 2019, "Importance estimation for neural network pruning" (arXiv:1906.10771), for each sample and
    # taken where layers read a channel: there it is the effect of all that becomes zero.
    "taylor": Measure(("in", "out"), _taylor, needs_batches=True),
    # He et al. 2019, "Filter pruning via geometric median" (arXiv:1811.00250).
    "geometric_median": Measure(("out", "in"), _of_weights(_geometric_median)),
    # Hu et al. 2016, "Network trimming" (arXiv:1607.03250), with magnitudes in place of shares of zeros.
    "activation": Measure(("in", "out"), _activation, needs_batches=True),
    "random": Measure(("out", "in"), _random),
}

Importance = str | Callable[[Scene, Group], Sequence[float]]
"""A name from `MEASURES`, or a function that returns one number for each unit of a group."""


def importances(scene: Scene, groups: Sequence[Group], importance: Importance) -> list[Numbers]:
    """Return how much each unit of each group matters; higher numbers stay longer.

    Raises:
        PruneError: an unknown name, numbers of a user's function that do not fit.
        InputError: a measure that needs calibration inputs, and none.
    """
    if callable(importance):
        return [_checked(group, importance(scene, group)) for group in groups]
    if importance not in MEASURES:
        raise PruneError(f"there is no importance {importance!r}", do=did_you_mean(importance, MEASURES))
    measure = MEASURES[importance]
    if measure.needs_batches and not scene.batches:
        raise InputError(
            f"importance={importance!r} needs calibration inputs, and there are none",
            expected=f"batches of {len(inputs(scene.trace.graph))} tensors each",
            do="pass calibration=[...], or importance='l1', which looks at weights only",
        )
    squares, count = [np.zeros(len(group.units)) for group in groups], 0
    for batch in range(len(scene.batches) if measure.needs_batches else 1):
        scores = [_by_class(scene, measure, kind, batch) for kind in measure.kinds]
        rows = max(len(numbers) for numbers, _ in scores)
        count += rows
        for group, total in zip(groups, squares, strict=True):
            for place, found in enumerate(_of_units(group, scores)):
                total[place] += np.square(found).sum() * (rows / len(found))
    return [_checked(group, np.sqrt(total / count)) for group, total in zip(groups, squares, strict=True)]


def needs_graph(importance: Importance) -> bool:
    """Tell whether a measure runs the graph, so that it changes as the graph does; functions of users may."""
    return callable(importance) or (importance in MEASURES and MEASURES[importance].needs_batches)


def _by_class(scene: Scene, measure: Measure, kind: str, batch: int) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Return the numbers of all classes, one row a sample, and which classes have any."""
    numbers = np.zeros((1, len(scene.trace.classes)))
    known = np.zeros(len(scene.trace.classes), dtype=bool)
    for role in scene.trace.roles:
        if role.kind == kind and scene.tensor(role).is_floating_point():
            classes, rows = measure.of(scene, role, batch)
            if len(rows) > len(numbers):
                numbers = np.repeat(numbers, len(rows), axis=0)
            for row, addition in zip(numbers, np.broadcast_to(rows.numpy(), (len(numbers), len(classes))), strict=True):
                np.add.at(row, classes, addition)
            known[classes] = True
    return numbers, known


def _of_units(group: Group, scores: Sequence[tuple[Numbers, npt.NDArray[np.bool_]]]) -> Iterator[Numbers]:
    """Yield the sum over each unit of a group, one number a sample."""
    for unit in group.units:
        classes = np.fromiter(unit.classes, dtype=np.int64)
        numbers = next((numbers for numbers, known in scores if known[classes].any()), np.zeros((1, 1 + classes.max())))
        yield numbers[:, classes].sum(axis=1)


def _checked(group: Group, given: Sequence[float] | Numbers) -> Numbers:
    numbers = np.asarray(given, dtype=np.float64)
    if numbers.shape != (len(group.units),) or not np.isfinite(numbers).all():
        raise PruneError(
            f"importance of {group.name}: {len(numbers.reshape(-1))} numbers, "
            f"{int((~np.isfinite(numbers)).sum())} of them not finite",
            expected=f"{len(group.units)} finite numbers, one for each unit",
            do="look for NaN in the weights or in the calibration inputs",
        )
    return numbers
