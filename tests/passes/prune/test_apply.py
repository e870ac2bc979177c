"""Pruned graphs equal the original with the cut channels zeroed, and every cut leaves a graph that runs."""

import copy
import random

import pytest
import torch
from hypothesis import given

from prunus.passes.numbers import run
from prunus.passes.prune import apply_cut, trace
from prunus.passes.prune.units import Axes, find_units
from tests.networks import FAMILIES
from tests.passes.prune.cuts import assert_equals_zeroed, assert_every_group_can_be_cut, draw_cut, imported, is_exact
from tests.random_graphs import RandomNetwork, random_networks


@given(random_networks())
def test_random_plan_of_random_network_equals_zeroed_original(network: RandomNetwork) -> None:
    module, inputs = network.build()
    whole = trace(imported(module, inputs))
    axes, generator = Axes(whole), random.Random(network.seed)
    units = find_units(whole, axes)
    exact = [unit for unit in units if is_exact(whole, unit)]
    try:
        assert_equals_zeroed(whole, draw_cut(axes, exact, generator), inputs)
        run(apply_cut(whole, draw_cut(axes, units, generator)).graph, inputs)
    except Exception as error:
        pytest.fail(f"seed {network.seed}: {type(error).__name__}: {error}\nTo see it again:\n\n{network}\n")


@pytest.mark.parametrize("name", FAMILIES)
def test_groups_of_family_can_be_cut_alone_and_together(name: str) -> None:
    module, inputs = FAMILIES[name]()
    assert_every_group_can_be_cut(trace(imported(module, inputs)), inputs)


def test_two_cuts_are_one() -> None:
    module, inputs = FAMILIES["shufflenet-v2"]()
    whole = trace(imported(module, inputs))
    axes = Axes(whole)
    first, second = (draw_cut(axes, find_units(whole, axes), random.Random(seed)) for seed in (1, 2))
    if any(gone >= axes.sizes[axis] for axis, gone in axes.counts(first | second).items()):
        second = frozenset()
    once = apply_cut(whole, first | second).graph
    twice = apply_cut(apply_cut(whole, first), second - first).graph
    for one, other in zip(run(once, inputs), run(twice, inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_original_stays_as_it_is() -> None:
    module, inputs = FAMILIES["mobilenet-v2"]()
    graph = imported(module, inputs)
    before, state = run(graph, inputs), copy.deepcopy(graph.state_dict())
    whole = trace(graph)
    apply_cut(whole, find_units(whole, Axes(whole))[0].classes)
    assert all(torch.equal(one, state[name]) for name, one in graph.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip(before, run(graph, inputs), strict=True))


def test_pruned_graph_trains() -> None:
    module, inputs = FAMILIES["ds-cnn"]()
    whole = trace(imported(module, inputs))
    axes = Axes(whole)
    pruned = apply_cut(whole, draw_cut(axes, find_units(whole, axes), random.Random(3))).graph
    before = run(pruned, inputs)[0]
    optimizer = torch.optim.SGD(pruned.parameters(), lr=0.01)
    pruned(*inputs)[0].square().sum().backward()
    optimizer.step()
    assert all(parameter.grad is not None for parameter in pruned.parameters())
    assert not torch.equal(before, run(pruned, inputs)[0])
