"""From a budget to a graph."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunus.compression import Prune
from prunus.errors import InputError, PruneError
from prunus.frontend import import_model
from prunus.passes.arguments import arguments
from prunus.passes.graph import Graph, calls, shape
from prunus.passes.latency import EstimatedLatency
from prunus.passes.numbers import run
from prunus.passes.prune import (
    Group,
    Scene,
    apply_plan,
    describe,
    plan_pruning,
    prune,
)
from prunus.passes.prune.importance import MEASURES
from prunus.targets import load_target
from tests.networks import FAMILIES


def network(name: str = "ds-cnn") -> tuple[Graph, tuple[Tensor, ...]]:
    module, inputs = FAMILIES[name]()
    return import_model(module, example_inputs=inputs), inputs


def request(importance: str, budget: str, amount: float) -> Prune:
    given: dict[str, Any] = {"importance": importance, budget: amount}
    return Prune(**given)


def count_macs(graph: Graph) -> int:
    """Count the multiplications of convolutions and linear layers, independently of `costs`."""
    total = 0
    for node in calls(graph):
        if str(node.target).startswith(("aten.conv2d", "aten.linear")):
            weight = arguments(node).weight.meta["val"]
            total += torch.Size(shape(node)).numel() * weight[0].numel()
    return total


@pytest.mark.parametrize("importance", MEASURES)
def test_each_measure_reaches_half_the_macs(importance: str) -> None:
    graph, inputs = network()
    pruned = prune(graph, Prune(macs=0.5, importance=importance, steps=2), calibration=[inputs, inputs])
    assert 0.4 < count_macs(pruned) / count_macs(graph) <= 0.5
    assert pruned.meta["prune"].after == count_macs(pruned)
    assert run(pruned, inputs)[0].shape == run(graph, inputs)[0].shape


@pytest.mark.parametrize("budget", ["parameters", "bytes", "ratio"])
def test_other_budgets(budget: str) -> None:
    graph, _ = network()
    pruned = prune(graph, request("l2", budget, 0.6))
    before, after = (
        sum(tensor.numel() for tensor in each.state_dict().values() if tensor.is_floating_point())
        for each in (graph, pruned)
    )
    assert after < before
    assert budget == "ratio" or 0.5 < after / before <= 0.6
    plan = pruned.meta["prune"]
    assert plan.after <= plan.budget == pytest.approx(0.6 * plan.before)


@pytest.mark.parametrize("budget", ["latency", "latency_ms"])
def test_time_budgets(budget: str) -> None:
    graph, _ = network()
    model = EstimatedLatency(load_target("rpi4"))
    whole = model.latency_ms(graph)
    amount = 0.6 if budget == "latency" else 0.6 * whole
    pruned = prune(graph, request("l1", budget, amount), latency=model)
    assert 0.4 * whole < model.latency_ms(pruned) <= 0.6 * whole


def test_widths_fill_vectors_for_budgets_of_time() -> None:
    graph, _ = network()
    model = EstimatedLatency(load_target("rpi4"))
    plan = prune(graph, Prune(latency=0.6, importance="l1"), latency=model).meta["prune"]
    assert all(part.width % model.lanes == 0 for part in plan.parts)


def test_batch_norms_are_measured_anew() -> None:
    graph, _ = network()
    batches = [torch.randn(1, 1, 49, 10, generator=torch.Generator().manual_seed(seed)) for seed in range(40)]
    config = Prune(macs=0.7, importance="l1")
    statistics = [
        next(tensor for name, tensor in prune(graph, config, calibration=given).named_buffers() if "var" in name)
        for given in (None, batches)
    ]
    assert not torch.equal(*statistics)


def test_survivors_are_what_is_left_of_each_value() -> None:
    graph, _ = network()
    pruned = prune(graph, Prune(macs=0.5, importance="l1", steps=2), fine_tune=lambda module: None)
    before = {node.name: shape(node) for node in calls(prune(graph, Prune(macs=1.0, importance="l1")))}
    for node in calls(pruned):
        (masks,) = pruned.meta["survivors"][node.name]
        assert tuple(int(mask.sum()) for mask in masks) == shape(node)
        assert tuple(map(len, masks)) == before[node.name]


def test_time_budget_needs_a_model() -> None:
    with pytest.raises(PruneError, match="latency_model"):
        prune(network()[0], Prune(latency_ms=1.0))


def test_least_important_units_go() -> None:
    """A channel without weights is the first to go, by any measure of weights."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    with torch.no_grad():
        for tensor in layers[0].parameters():
            tensor[[2, 5]] = 0
    graph = import_model(layers, example_inputs=(torch.randn(1, 3, 9, 9),))
    for importance in ("l1", "l2", "taylor"):
        config = Prune(ratio=0.75, importance=importance, steps=1)
        (part,) = plan_pruning(graph, config, calibration=[torch.randn(1, 3, 9, 9)]).parts
        assert part.cut == (2, 5)


def test_function_of_the_user() -> None:
    def last_first(scene: Scene, group: Group) -> Sequence[float]:
        return range(len(group.units), 0, -1)

    graph, _ = network()
    for part in plan_pruning(graph, Prune(macs=0.7, importance=last_first, steps=1)).parts:
        assert part.cut == tuple(range(part.width, len(part.group.units)))


def test_widths_are_multiples() -> None:
    graph, _ = network()
    plan = plan_pruning(graph, Prune(macs=0.5, importance="l1", multiple_of=8))
    assert all(part.width % 8 == 0 or not part.cut for part in plan.parts)
    assert any(part.cut for part in plan.parts)


def test_kept_layers_keep_their_channels() -> None:
    graph, _ = network("mobilenet-v2")
    first = next(name for name, _ in graph.named_parameters())
    plan = plan_pruning(graph, Prune(macs=0.7, importance="l1", keep=[first]))
    assert any(one.layer == first.removesuffix(".weight") and "keep" in one.reason.text for one in plan.protected)
    assert all(first.removesuffix(".weight") not in part.group.layers for part in plan.parts)
    with pytest.raises(PruneError, match="matches no layer"):
        prune(graph, Prune(macs=0.7, importance="l1", keep=["no_such.*"]))


def test_impossible_budget_says_what_is_possible() -> None:
    graph, _ = network()
    with pytest.raises(PruneError, match="smallest value is") as caught:
        prune(graph, Prune(macs=0.001, importance="l1"))
    smallest = float(caught.value.expected.split("=")[1].split()[0])
    prune(graph, Prune(macs=smallest * 1.01, importance="l1"))


def test_impossible_time_says_what_is_possible() -> None:
    graph, _ = network()
    model = EstimatedLatency(load_target("rpi4"))
    with pytest.raises(PruneError, match="smallest value is") as caught:
        prune(graph, Prune(latency_ms=1e-6, importance="l1"), latency=model)
    smallest = float(caught.value.expected.split("=")[1].split()[0])
    pruned = prune(graph, Prune(latency_ms=smallest * 1.01, importance="l1"), latency=model)
    assert model.latency_ms(pruned) <= smallest * 1.01


def test_plan_applies_to_the_graph_again() -> None:
    graph, inputs = network()
    config = Prune(macs=0.5, importance="l1")
    plan = plan_pruning(graph, config)
    for one, other in zip(run(apply_plan(graph, plan), inputs), run(prune(graph, config), inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_pruned_graph_is_pruned_again() -> None:
    graph, inputs = network("shufflenet-v2")
    twice = prune(prune(graph, Prune(macs=0.8, importance="l1")), Prune(macs=0.8, importance="l1"))
    assert count_macs(twice) <= 0.64 * count_macs(graph)
    run(twice, inputs)


def test_plan_prints_groups_and_reasons() -> None:
    graph, _ = network()
    text = str(describe(graph))
    assert "it is an output of the model" in text
    assert all(part.group.name in text for part in describe(graph).parts)


def test_contract_takes_the_last_step_back() -> None:
    graph, _ = network()
    found = iter([0.9, 0.9, 0.895, 0.5])
    pruned = prune(graph, Prune(macs=0.5, importance="l1", steps=4), evaluate=lambda run: next(found), max_drop=0.01)
    plan = pruned.meta["prune"]
    assert "step 2 of 4 taken back: accuracy 0.5000" in plan.notes[0]
    assert plan.before > plan.after > plan.budget
    assert plan.after == count_macs(pruned)


def test_fine_tuning_follows_each_step() -> None:
    graph, _ = network()
    sizes: list[int] = []
    prune(graph, Prune(macs=0.5, importance="l1", steps=3), fine_tune=lambda module: sizes.append(count_macs(module)))
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)


def test_finishing_follows_the_last_step_and_mends_others() -> None:
    graph, _ = network()
    done: list[str] = []
    found = iter([0.9, 0.9, 0.9, 0.5, 0.9, 0.895])  # twice the original, step 1, step 2 before and after, step 3
    pruned = prune(
        graph, Prune(macs=0.5, importance="l1", steps=3), evaluate=lambda run: next(found),
        fine_tune=lambda module: done.append("fine_tune"), finish=lambda module: done.append("finish"),
    )  # fmt: skip
    assert done == ["fine_tune", "fine_tune", "finish", "fine_tune", "finish"]
    assert pruned.meta["prune"].notes == ()
    assert pruned.meta["prune"].after <= pruned.meta["prune"].budget


@pytest.mark.parametrize(
    ("evaluate", "message"), [(lambda run: float("nan"), "returned NaN"), (lambda run: 1 / 0, "ZeroDivisionError")]
)
def test_evaluate_that_fails(evaluate: object, message: str) -> None:
    with pytest.raises(PruneError, match=message):
        prune(network()[0], Prune(macs=0.5, importance="l1"), evaluate=evaluate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "message"), [(lambda: float("nan"), "returned NaN"), (lambda: 1 / 0, "ZeroDivisionError")]
)
def test_evaluate_that_fails_later_keeps_the_last_good_graph(answer: Callable[[], float], message: str) -> None:
    graph, _ = network()
    answers = iter([lambda: 0.9] * 3 + [answer])
    pruned = prune(graph, Prune(macs=0.5, importance="l1", steps=4), evaluate=lambda run: next(answers)())
    plan = pruned.meta["prune"]
    assert "step 2 of 4 taken back" in plan.notes[0]
    assert message in plan.notes[0]
    assert plan.before > plan.after == count_macs(pruned) > plan.budget


def test_evaluate_that_changes_its_mind() -> None:
    found = iter([0.9, 0.85])
    with pytest.raises(PruneError, match=r"returned 0\.9 and 0\.85 for the same graph"):
        prune(network()[0], Prune(macs=0.5, importance="l1"), evaluate=lambda run: next(found), max_drop=0.01)


def test_taylor_needs_calibration() -> None:
    with pytest.raises(InputError, match="needs calibration inputs"):
        prune(network()[0], Prune(macs=0.5))


def test_calibration_that_is_not_finite() -> None:
    graph, inputs = network()
    with pytest.raises(PruneError, match="not finite"):
        prune(graph, Prune(macs=0.5), calibration=[inputs[0] * float("nan")])


def test_unknown_importance_names_the_nearest() -> None:
    with pytest.raises(PruneError, match="'taylor'"):
        prune(network()[0], Prune(macs=0.5, importance="tailor"))
