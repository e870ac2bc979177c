"""From a budget to a smaller graph: groups, importance, the greedy order, surgery, in steps."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from prunus.compression import Prune
from prunus.errors import PruneError
from prunus.passes.canonical import canonical
from prunus.passes.evaluation import Evaluate, baseline, refusal
from prunus.passes.graph import Graph
from prunus.passes.latency import LatencyModel
from prunus.passes.prune.apply import apply_cut, masks_without
from prunus.passes.prune.costs import Unit, costs_of
from prunus.passes.prune.greedy import Limits, Removal, removals
from prunus.passes.prune.groups import Group, find_groups, find_protected
from prunus.passes.prune.importance import Numbers, importances, needs_graph
from prunus.passes.prune.plan import Part, PrunePlan
from prunus.passes.prune.scene import Scene, output_change
from prunus.passes.prune.search import NEAR, Search
from prunus.passes.prune.trace import Trace, trace
from prunus.passes.prune.units import Axes
from prunus.passes.recovery.batches import Batches
from prunus.passes.recovery.batchnorm import recalibrate_batchnorm
from prunus.passes.recovery.features import SURVIVORS

_TERMS: dict[str, Unit] = {
    "ratio": "channels", "macs": "macs", "parameters": "parameters", "bytes": "bytes", "latency": "macs",
    "latency_ms": "macs",
}  # fmt: skip

# Batches that statistics can be measured on.
_ENOUGH = 32


def prune(
    graph: Graph,
    config: Prune,
    *,
    calibration: Sequence[Any] | None = None,
    evaluate: Evaluate | None = None,
    max_drop: float = 0.01,
    fine_tune: Callable[[Graph], None] | None = None,
    finish: Callable[[Graph], None] | None = None,
    latency: LatencyModel | None = None,
) -> Graph:
    """Return a graph without the channels that matter least for what they cost.

    before:  conv(64 channels) -> batch_norm -> relu -> conv(64 -> 128 channels)
    after:   conv(39 channels) -> batch_norm -> relu -> conv(39 -> 71 channels)

    With calibration inputs and without training, batch norms are measured anew after each step.

    The result can be trained and pruned again; its `meta["prune"]` is the `PrunePlan`, its `meta["survivors"]` says of
    each value which indices are left.

    Args:
        graph: any imported graph; it stays as it is, its parameters too.
        config: the budget and how to get there.
        calibration: batches of inputs, each a tensor or a tuple of them, of the graph's shapes.
        evaluate: takes a function that runs a graph and returns an accuracy, higher is better, and the same for the
            same graph.
        max_drop: how much of the accuracy may be lost; the last step that holds is the result. A step after which
            `evaluate` raises or returns NaN does not hold.
        fine_tune: trains the graph after each step, in place.
        finish: trains it after the last step, in place, and before a step is taken back: what a long training can mend
            is no reason to stop.
        latency: tells the time of a graph, for budgets of time.

    Raises:
        PruneError: a budget that cannot be reached (the message says what can), a wrong request, or an `evaluate`
            that raises, returns no number or another one each time for the original.
        InputError: a measure of importance that needs calibration inputs, and none.
    """
    pruner = _Pruner(canonical(graph), config, as_batches(calibration), latency)
    least = baseline(evaluate, pruner.trace.graph, max_drop) - max_drop if evaluate else 0.0
    watched = bool(fine_tune or finish or evaluate)
    steps = config.steps if watched or needs_graph(config.importance) else 1  # weights alone say the same every time
    for step in range(1, steps + 1):
        earlier = copy.copy(pruner)
        pruner.advance(step / steps, verified=step == steps or watched)
        if fine_tune:
            fine_tune(pruner.trace.graph)
        elif len(pruner.batches) >= _ENOUGH:
            recalibrate_batchnorm(pruner.trace.graph, Batches(pruner.batches))
        if finish and step == steps:
            finish(pruner.trace.graph)
        why = refusal(evaluate, pruner.trace.graph, least) if evaluate else None
        if why and evaluate and finish and step < steps:
            finish(pruner.trace.graph)
            why = refusal(evaluate, pruner.trace.graph, least)
        if why:
            pruner = earlier
            pruner.notes += (f"step {step} of {steps} taken back: {why}",)
            break
    result = pruner.trace.graph
    result.meta["prune"] = pruner.plan()
    return result


def plan_pruning(
    graph: Graph, config: Prune, *, calibration: Sequence[Any] | None = None, latency: LatencyModel | None = None
) -> PrunePlan:
    """Return what `prune` would do, without training in between; arguments and errors are the same."""
    plan = prune(graph, config, calibration=calibration, latency=latency).meta["prune"]
    assert isinstance(plan, PrunePlan)
    return plan


def describe(graph: Graph, *, keep: Sequence[str] = ()) -> PrunePlan:
    """Return the groups of a graph, what one unit of each saves in MACs, and what stays and why; nothing is cut."""
    return _Pruner(canonical(graph), Prune(macs=1.0, keep=keep), [], None).plan()


def apply_plan(graph: Graph, plan: PrunePlan) -> Graph:
    """Return the graph that a plan describes, with the weights of `graph`, which is the one that the plan is of."""
    result = apply_cut(trace(canonical(graph)), plan.cut).graph
    result.meta["prune"] = plan
    return result


@dataclass
class _Pruner:
    """A graph on its way to the budget."""

    graph: Graph
    config: Prune
    batches: list[tuple[torch.Tensor, ...]]
    latency: LatencyModel | None
    start: Trace = field(init=False)
    trace: Trace = field(init=False)
    groups: list[Group] = field(init=False)
    before: float = field(init=False)
    notes: tuple[str, ...] = ()
    gone: frozenset[int] = frozenset()
    cut: tuple[frozenset[int], ...] = ()
    importance: tuple[Numbers, ...] = ()

    def __post_init__(self) -> None:
        self.start = self.trace = trace(self.graph, keep=self.config.keep)
        self.groups = find_groups(self.trace, Axes(self.trace))
        self.cut = (frozenset(),) * len(self.groups)
        if self.config.budget.startswith("latency") and self.latency is None:
            raise PruneError(
                f"{self.config.budget} needs to know the time on a target", expected="a latency model",
                do="pass latency=latency_model(load_target('rpi4'))",
            )  # fmt: skip
        self.before = self.measure(self.trace, settled=True)

    def measure(self, current: Trace, *, settled: bool = False) -> float:
        """Return what the budget counts; a time that is `settled` is the best answer there is, else a quick one."""
        if self.config.budget.startswith("latency"):
            assert self.latency is not None
            return (self.latency.settle_ms if settled else self.latency.latency_ms)(current.graph)
        axes = Axes(current)
        return costs_of(current, axes, _TERMS[self.config.budget]).total(axes.sizes)

    @property
    def budget(self) -> float:
        """What the graph may cost in the end."""
        return self.config.amount if self.config.budget == "latency_ms" else self.config.amount * self.before

    def advance(self, progress: float, *, verified: bool) -> None:
        """Cut down to a share `progress` of the way, which is even in ratios: 1, 0.84, 0.71, 0.59, 0.5."""
        target = self.before * (min(self.budget, self.before) / self.before) ** progress if self.before else 0.0
        scene = Scene(self.trace, self.batches, self.config.loss or output_change, self.config.seed)
        self.importance = tuple(importances(scene, self.groups, self.config.importance))
        axes = Axes(self.trace)
        costs = costs_of(self.trace, axes, _TERMS[self.config.budget])

        def order(multiple_of: int) -> Iterator[Removal]:
            limits = Limits(self.config.floor, multiple_of)
            return removals(self.groups, self.importance, axes, costs, limits, self.gone)

        if self.latency is not None and self.config.budget.startswith("latency"):
            # Widths that fill vectors, unless they are too coarse to come near the budget.
            multiples = dict.fromkeys((max(self.config.multiple_of, self.latency.lanes), self.config.multiple_of))
            taken = self._until_fast([list(order(multiple)) for multiple in multiples], target)
        else:
            taken = self._until_cheap(order(self.config.multiple_of), costs.total(axes.sizes), target)
        gone = frozenset().union(*(removal.classes for removal in taken))
        cut = list(self.cut)
        for removal in taken:
            cut[removal.group] |= frozenset(removal.units)
        self.trace = apply_cut(self.trace, gone, verified=verified)
        self.gone |= gone
        self.cut = tuple(cut)
        self.trace.graph.meta[SURVIVORS] = masks_without(self.start, self.gone)

    def _until_cheap(self, order: Iterator[Removal], cost: float, target: float) -> list[Removal]:
        taken: list[Removal] = []
        while cost > target * (1 + 1e-9):
            removal = next(order, None)
            if removal is None:
                raise self._impossible(cost)
            taken.append(removal)
            cost = removal.cost
        return taken

    def _until_fast(self, orders: Sequence[list[Removal]], target: float) -> list[Removal]:
        """Find the shortest start of an order that is fast enough: of the first order that comes near."""
        if self.measure(self.trace) <= target:
            return []
        fastest, found = [], []
        for order in orders:
            search = self._search(order)
            fastest.append(search.settled(len(order)))
            if fastest[-1] > target:
                continue
            count = search.shortest(target)
            found.append((search.settled(count), order[:count]))
            if found[-1][0] >= target * NEAR:
                break
        if not found:
            raise self._impossible(min(fastest))
        return max(found, key=lambda pair: pair[0])[1]

    def _search(self, order: Sequence[Removal]) -> Search:
        def without(count: int) -> Trace:
            gone = frozenset().union(*(removal.classes for removal in order[:count]))
            return apply_cut(self.trace, gone, verified=False) if gone else self.trace

        return Search(
            len(order),
            quick=lambda count: self.measure(without(count)),
            settle=lambda count: self.measure(without(count), settled=True),
        )

    def _impossible(self, reachable: float) -> PruneError:
        name = self.config.budget
        number = reachable if name == "latency_ms" else reachable / self.before
        return PruneError(
            f"{name}={self.config.amount:g} cannot be reached: the smallest value is {number:.3g}",
            expected=f"{name}={number:.3g} or more",
            do="ask for less, lower floor= or multiple_of=, or take patterns out of keep=",
        )

    def plan(self) -> PrunePlan:
        """Return what has happened so far."""
        axes = Axes(self.start)
        costs = costs_of(self.start, axes, _TERMS[self.config.budget])
        parts = tuple(
            Part(
                group,
                tuple(sorted(cut)),
                tuple(map(float, self.importance[number])) if self.importance else (),
                costs.saving(axes.sizes, dict(group.units[0].counts)),
            )
            for number, (group, cut) in enumerate(zip(self.groups, self.cut, strict=True))
        )
        timed = self.latency if self.config.budget.startswith("latency") else None
        source = (f"times are {timed.source}",) if timed else ()
        return PrunePlan(
            parts=parts,
            protected=tuple(find_protected(self.start)),
            measure="latency_ms" if timed else _TERMS[self.config.budget],
            before=self.before,
            budget=self.budget,
            after=self.measure(self.trace, settled=True),
            notes=source + self.notes,
        )


def as_batches(calibration: Sequence[Any] | None) -> list[tuple[torch.Tensor, ...]]:
    """Return calibration inputs as tuples of tensors."""
    given = [] if calibration is None else list(calibration)
    return [
        tuple(torch.as_tensor(one) for one in (batch if isinstance(batch, tuple | list) else (batch,)))
        for batch in given
    ]
