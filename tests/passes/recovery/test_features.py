"""What student and teacher share."""

import pytest
import torch

from prunus.compression import Prune
from prunus.frontend import import_model
from prunus.passes import CANONICAL, run_passes
from prunus.passes.graph import Graph, calls
from prunus.passes.numbers import Values, run
from prunus.passes.prune import prune
from prunus.passes.recovery.features import Feature, common_features, exposed
from tests.networks import FAMILIES


def network(family: str) -> tuple[Graph, tuple[torch.Tensor, ...]]:
    module, inputs = FAMILIES[family]()
    return run_passes(import_model(module, example_inputs=inputs), CANONICAL), inputs


def values_of(graph: Graph, inputs: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    values = Values(graph, keep=True)
    with torch.no_grad():
        values.run(*inputs)
    return values.by_name


@pytest.mark.parametrize("family", ["ds-cnn", "resnet-basic", "shufflenet-v2", "vit"])
def test_features_select_the_channels_that_are_left(family: str) -> None:
    """The first layer's own result is the teacher's on the channels that are left: nothing before it was cut."""
    teacher, inputs = network(family)
    student = prune(teacher, Prune(macs=0.6, importance="l1"))
    features = common_features(student, teacher)
    ours, theirs = values_of(student, inputs), values_of(teacher, inputs)
    assert len(features) >= 5
    for feature in features:
        assert feature.select(theirs[feature.name]).shape == ours[feature.name].shape
    first = features[0]
    torch.testing.assert_close(first.select(theirs[first.name]), ours[first.name])


def test_exposed_graph_returns_results_then_features() -> None:
    graph, inputs = network("ds-cnn")
    features = common_features(graph, graph)
    results = run(exposed(graph, features), inputs)
    torch.testing.assert_close(results[0], run(graph, inputs)[0])
    values = values_of(graph, inputs)
    for feature, result in zip(features, results[1:], strict=True):
        torch.testing.assert_close(result, values[feature.name])


def test_another_teacher_shares_only_what_fits() -> None:
    """A graph that is pruned twice knows what is left of the graph in between, not of the first."""
    teacher, _ = network("ds-cnn")
    middle = prune(teacher, Prune(macs=0.7, importance="l1"))
    student = prune(middle, Prune(macs=0.7, importance="l1"))
    between = common_features(student, middle)
    assert len(between) > len(common_features(student, teacher))
    assert {feature.name for feature in between} <= {node.name for node in calls(middle)}


def test_all_of_a_dimension_is_not_indexed() -> None:
    value = torch.randn(2, 3, 4)
    assert Feature("x", (None, None, None)).select(value) is value
    torch.testing.assert_close(Feature("x", (None, torch.tensor([2, 0]), None)).select(value), value[:, [2, 0]])
