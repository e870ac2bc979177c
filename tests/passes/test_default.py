"""The default chain on the classic families."""

import pytest
import torch

from prunus.frontend.torch import import_torch
from prunus.passes import CANONICAL, DEFAULT, FOLD, fuse, left_over, run_passes, show
from prunus.passes.graph import aten, calls
from prunus.passes.run import pass_name
from tests.comparison import assert_close
from tests.networks import FAMILIES
from tests.passes.groups import check_groups

VIEWS = {aten.view.default, aten.flatten.using_ints, aten.transpose.int, aten.t.default, aten.unsqueeze.default}


def test_the_chain_reads_like_a_table_of_contents() -> None:
    assert [pass_name(one_pass) for one_pass in DEFAULT][:5] == [
        "decompose",
        "merge_duplicates",
        "fold_qdq",
        "merge_linear",
        "fold_constants",
    ]
    assert [*CANONICAL, *FOLD] == DEFAULT
    assert all(one_pass.__doc__ and "before:" in one_pass.__doc__ for one_pass in DEFAULT)


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    """Numbers stay, every operator is one that the backend keeps, and a second run finds nothing to do."""
    torch.manual_seed(0)
    module, inputs = FAMILIES[name]()
    graph = run_passes(import_torch(module, inputs), DEFAULT, inputs)
    assert_close(module, inputs, graph(*inputs))
    assert not left_over(graph)
    assert not {node.target for node in calls(graph)} & VIEWS
    assert not list(calls(graph, aten.batch_norm.default, aten.dropout.default))
    check_groups(graph, fuse(graph))
    assert show(run_passes(graph, DEFAULT, inputs)) == show(graph)


@pytest.mark.parametrize("name", ["mobilenet-v3", "text", "gru"])
def test_canonical_graphs_can_be_trained(name: str) -> None:
    module, inputs = FAMILIES[name]()
    graph = run_passes(import_torch(module, inputs), CANONICAL, inputs)
    graph(*inputs)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())
    assert sum(p.numel() for p in graph.parameters()) == sum(p.numel() for p in module.parameters())
