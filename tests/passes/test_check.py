"""Graphs that break the contract, each named by its node."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from prunus.errors import GraphError
from prunus.frontend.torch import import_torch
from prunus.passes import Graph, check
from prunus.passes.graph import aten, calls, inputs


@pytest.fixture
def graph() -> Graph:
    return import_torch(nn.Sequential(nn.Linear(5, 3), nn.ReLU()), (torch.randn(2, 5),))


def _module_call(graph: Graph) -> None:
    graph.add_module("extra", nn.ReLU())
    (x,) = inputs(graph)
    with graph.graph.inserting_after(x):
        graph.graph.call_module("extra", (x,))


def _python_function(graph: Graph) -> None:
    next(calls(graph, aten.relu.default)).target = torch.relu


def _in_place(graph: Graph) -> None:
    next(calls(graph, aten.relu.default)).target = aten.relu_.default


def _no_description(graph: Graph) -> None:
    del next(calls(graph, aten.relu.default)).meta["val"]


def _half(graph: Graph) -> None:
    next(calls(graph, aten.relu.default)).meta["val"] = torch.empty(2, 3, dtype=torch.float16, device="meta")


def _missing_constant(graph: Graph) -> None:
    next(node for node in graph.graph.nodes if node.op == "get_attr").target = "gone.weight"


def _order(graph: Graph) -> None:
    relu = next(calls(graph, aten.relu.default))
    next(iter(graph.graph.nodes)).prepend(relu)


def _single_output(graph: Graph) -> None:
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    output.args = (output.args[0][0],)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_module_call, "'extra' is a 'call_module' node"),
        (_python_function, "'relu' calls <built-in"),
        (_in_place, "'relu' calls aten.relu_.default, which writes into its argument"),
        (_no_description, "'relu' is described by NoneType"),
        (_half, "'relu' has dtype torch.float16"),
        (_missing_constant, "reads 'gone.weight', which is no tensor"),
        (_order, "'relu' reads 'linear', which does not stand before it"),
        (_single_output, "'output' returns relu"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_illegal(graph: Graph, damage: Callable[[Graph], None], message: str) -> None:
    check(graph)
    damage(graph)
    with pytest.raises(GraphError, match="Expected") as caught:
        check(graph)
    assert message in str(caught.value)


def test_several_results_are_legal() -> None:
    check(import_torch(nn.GRU(3, 5), (torch.randn(2, 1, 3),)))
