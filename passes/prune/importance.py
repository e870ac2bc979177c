"""How much a channel matters: a table of small measures.

Each measure gives every index along one dimension of a parameter a number. A unit's importance is the sum over all that
it takes, so that it can be set against all that it saves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from prunus.errors import InputError, PruneError, did_you_mean
from prunus.passes.graph import get_constant, inputs
from prunus.passes.prune.groups import Group
from prunus.passes.prune.rules.registry import Role
from prunus.passes.prune.trace import Trace

Numbers = npt.NDArray[np.float64]
Loss = Callable[[Sequence[Tensor], int], Tensor]
"""Takes the outputs of the graph and the number of the calibration batch, and returns what should stay small."""


def output_square(outputs: Sequence[Tensor], batch: int) -> Tensor:
    """Return half the mean square of the outputs: needs no labels."""
    numbers = [output for output in outputs if output.is_floating_point()]
    return sum((output.square().mean() for output in numbers), torch.zeros(())) / 2


@dataclass(frozen=True)
class Scene:
    """What measures look at.

    Attributes:
        trace: of the graph as it is now.
        batches: calibration inputs, a tuple of tensors each.
        loss: for measures that take gradients.
        seed: of random numbers.
    """

    trace: Trace
    batches: Sequence[tuple[Tensor, ...]] = ()
    loss: Loss = output_square
    seed: int = 0

    def tensor(self, role: Role) -> Tensor:
        """Return the parameter of a role."""
        tensor = get_constant(self.trace.graph, self._nodes[role.parameter])
        assert tensor is not None
        return tensor

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self.trace.graph.graph.nodes}

    @cached_property
    def gradients(self) -> list[dict[int, Tensor]]:
        """For each batch the gradient of the loss by identity of the parameter."""
        parameters = list({id(self.tensor(role)): self.tensor(role) for role in self.trace.roles}.values())
        # Buffers (folded weights) and frozen parameters have gradients only while this runs.
        wanted = [tensor.requires_grad for tensor in parameters]
        try:
            for tensor in parameters:
                tensor.requires_grad_(tensor.is_floating_point())
            found = []
            for number, batch in enumerate(self.batches):
                with torch.enable_grad():
                    loss = self.loss(self.trace.graph(*batch), number)
                grads = torch.autograd.grad(loss, parameters, allow_unused=True)
                found.append({id(p): g for p, g in zip(parameters, grads, strict=True) if g is not None})
            return found
        finally:
            for tensor, want in zip(parameters, wanted, strict=True):
                tensor.requires_grad_(want)

    @cached_property
    def activity(self) -> dict[str, Tensor]:
        """The mean magnitude of every value over all batches, by name of the node."""
        recorder = _Recorder(self.trace)
        with torch.no_grad():
            for batch in self.batches:
                recorder.run(*batch)
        return {name: total / len(self.batches) for name, total in recorder.sums.items()}


class _Recorder(Interpreter):
    """Adds up the magnitudes of values that feed layers."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace.graph)
        self.extra_traceback = False
        layers = {role.layer for role in trace.roles if role.kind == "in"}
        self._wanted = {
            source.name for node in trace.graph.graph.nodes if node.name in layers for source in node.all_input_nodes
        }
        self.sums: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.name in self._wanted and n.op == "call_function" and result.is_floating_point():
            self.sums[n.name] = self.sums.get(n.name, torch.zeros(())) + result.abs()
        return result


@dataclass(frozen=True)
class Measure:
    """One way of telling how much an index matters.

    Attributes:
        kinds: which dimensions of parameters it looks at; the next kind where a unit has none of the first.
        of: takes the scene and a role and returns one row of numbers for each batch, or a single row.
        needs_batches: whether it needs calibration inputs.
    """

    kinds: tuple[str, ...]
    of: Callable[[Scene, Role], Tensor]
    needs_batches: bool = False


def _slices(tensor: Tensor, dim: int) -> Tensor:
    """Return one row for each index along `dim`."""
    return tensor.detach().movedim(dim, 0).reshape(tensor.shape[dim], -1).double()


def _relative(numbers: Tensor) -> Tensor:
    """Divide by the mean, so that layers of different scale can be compared."""
    mean = numbers.mean()
    return (numbers / mean if mean > 0 else numbers)[None]


def _norm(order: int) -> Callable[[Scene, Role], Tensor]:
    def norm(scene: Scene, role: Role) -> Tensor:
        return _relative(torch.linalg.vector_norm(_slices(scene.tensor(role), role.dim), order, dim=1))

    return norm


def _taylor(scene: Scene, role: Role) -> Tensor:
    """Change of the loss to first order when the slice becomes zero: the sum of weight times gradient."""
    tensor = scene.tensor(role)
    rows = []
    for gradients in scene.gradients:
        gradient = gradients.get(id(tensor))
        product = torch.zeros_like(tensor) if gradient is None else tensor.detach() * gradient
        rows.append(_slices(product, role.dim).sum(dim=1))
    return torch.stack(rows)


def _geometric_median(scene: Scene, role: Role) -> Tensor:
    """Sum of distances to the other slices: small near the geometric median, where others can stand in."""
    rows = _slices(scene.tensor(role), role.dim)
    return _relative(torch.cdist(rows, rows).sum(dim=1))


def _activation(scene: Scene, role: Role) -> Tensor:
    """Mean magnitude of what the layer reads at this index."""
    classes = scene.trace.of(role.parameter)[role.dim]
    (layer,) = (node for node in scene.trace.graph.graph.nodes if node.name == role.layer)
    for source in layer.all_input_nodes:
        if source.name not in scene.activity:
            continue
        for dim, labels in enumerate(scene.trace.of(source)):
            if np.array_equal(labels, classes):
                return _relative(_slices(scene.activity[source.name], dim).mean(dim=1))
    return torch.zeros(1, len(classes), dtype=torch.float64)


def _random(scene: Scene, role: Role) -> Tensor:
    generator = torch.Generator().manual_seed(scene.seed + 1_000_003 * scene.trace.roles.index(role))
    return torch.rand(1, scene.tensor(role).shape[role.dim], generator=generator, dtype=torch.float64)


MEASURES: Mapping[str, Measure] = {
    # Li et al. 2017, "Pruning filters for efficient ConvNets" (arXiv:1608.08710), and its square.
    "l1": Measure(("out", "in"), _norm(1)),
    "l2": Measure(("out", "in"), _norm(2)),
    # Liu et al. 2017, "Learning efficient convolutional networks through network slimming" (arXiv:1708.06519).
    "batch_norm": Measure(("scale", "out", "in"), _norm(1)),
    # Molchanov et al. 2019, "Importance estimation for neural network pruning" (arXiv:1906.10771). Taken where layers
    # read a channel, it is the effect of all that becomes zero.
    "taylor": Measure(("in", "out"), _taylor, needs_batches=True),
    # He et al. 2019, "Filter pruning via geometric median" (arXiv:1811.00250).
    "geometric_median": Measure(("out", "in"), _geometric_median),
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
    scores = [_by_class(scene, measure, kind) for kind in measure.kinds]
    return [_of_group(group, scores, importance) for group in groups]


def needs_graph(importance: Importance) -> bool:
    """Tell whether a measure runs the graph, so that it changes as the graph does; functions of users may."""
    return callable(importance) or (importance in MEASURES and MEASURES[importance].needs_batches)


def _by_class(scene: Scene, measure: Measure, kind: str) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Return the numbers of all classes, one row a batch, and which classes have any."""
    rows = max(1, len(scene.batches)) if measure.needs_batches else 1
    numbers = np.zeros((rows, len(scene.trace.classes)))
    known = np.zeros(len(scene.trace.classes), dtype=bool)
    for role in scene.trace.roles:
        if role.kind == kind and scene.tensor(role).is_floating_point():
            classes = scene.trace.of(role.parameter)[role.dim]
            found = measure.of(scene, role).numpy()
            for row, addition in zip(numbers, np.broadcast_to(found, (rows, len(classes))), strict=True):
                np.add.at(row, classes, addition)
            known[classes] = True
    return numbers, known


def _of_group(group: Group, scores: list[tuple[Numbers, npt.NDArray[np.bool_]]], name: str) -> Numbers:
    found = np.zeros(len(group.units))
    for place, unit in enumerate(group.units):
        classes = np.fromiter(unit.classes, dtype=np.int64)
        for numbers, known in scores:
            if known[classes].any():
                found[place] = np.abs(numbers[:, classes].sum(axis=1)).mean()
                break
    return _checked(group, found)


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
