"""Random plans, and what must hold of them."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from prunus.frontend import import_model
from prunus.passes.canonical import canonical
from prunus.passes.graph import Graph
from prunus.passes.numbers import Values, largest_error, rounding_noise, run
from prunus.passes.prune import apply_cut
from prunus.passes.prune.trace import Trace
from prunus.passes.prune.units import Axes, Unit, find_units
from tests.passes.prune.zeroing import Zeroed

EXACT = 1e-5


def imported(module: torch.nn.Module, inputs: Sequence[Tensor]) -> Graph:
    return canonical(import_model(module, example_inputs=inputs))


def is_exact(whole: Trace, unit: Unit) -> bool:
    return all(whole.classes.inexact(one) is None for one in unit.classes)


def draw_cut(axes: Axes, units: Sequence[Unit], generator: random.Random) -> frozenset[int]:
    """Draw a plan: any units that together leave something on every axis."""
    share, cut = generator.random(), frozenset[int]()
    for unit in generator.sample(units, len(units)):
        more = cut | unit.classes
        if generator.random() < share and all(gone < axes.sizes[axis] for axis, gone in axes.counts(more).items()):
            cut = more
    return cut


def assert_equals_zeroed(whole: Trace, cut: frozenset[int], inputs: Sequence[Tensor]) -> None:
    """Compare every value of the pruned graph with what is left of the zeroed original."""
    pruned = apply_cut(whole, cut).graph
    zeroed, values = Zeroed(whole, cut), Values(pruned, keep=True)
    with torch.no_grad():
        zeroed.run(*inputs)
        outputs = values.run(*inputs)
    allowed = max(EXACT, 8 * rounding_noise(pruned, inputs, outputs))
    for name, found in values.by_name.items():
        if name in zeroed.kept:
            assert largest_error(zeroed.kept[name], found) <= allowed, name


def assert_every_group_can_be_cut(whole: Trace, inputs: Sequence[Tensor]) -> None:
    """Cut each group alone and all together; exact cuts equal the zeroed original."""
    axes, generator = Axes(whole), random.Random(0)
    units = find_units(whole, axes)
    alike: dict[object, list[Unit]] = {}
    for unit in units:
        alike.setdefault(unit.counts, []).append(unit)
    assert units, "there is something to prune"
    for group in alike.values():
        cut = draw_cut(axes, group, generator) or group[0].classes
        if all(is_exact(whole, unit) for unit in group):
            assert_equals_zeroed(whole, cut, inputs)
        else:
            run(apply_cut(whole, cut).graph, inputs)
    run(apply_cut(whole, draw_cut(axes, units, generator)).graph, inputs)
