"""The runner checks graph and numbers after each pass and says which pass broke what."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunus.errors import GraphError, InputError, PassError
from prunus.frontend.torch import import_torch
from prunus.passes import Graph, PassRecord, graph_pass, no, remove_dropout, run_passes
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import aten, calls, set_constant, tidy
from prunus.passes.plugins import unregister


@pytest.fixture
def graph() -> Graph:
    torch.manual_seed(0)
    return import_torch(nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Dropout(), nn.Tanh()), (torch.randn(2, 5),))


def sigmoid_for_relu(graph: Graph) -> Graph:
    for node in calls(graph, aten.relu.default):
        node.target = aten.sigmoid.default
    return tidy(graph)


def halve(graph: Graph) -> Graph:
    for name, tensor in list(graph.named_parameters()):
        set_constant(graph, name, nn.Parameter(tensor.detach() * 0.999))
    return graph


def test_names_the_pass_those_before_and_the_node(graph: Graph) -> None:
    with pytest.raises(PassError) as caught:
        run_passes(graph, [remove_dropout, sigmoid_for_relu])
    message = str(caught.value)
    assert "pass 'sigmoid_for_relu' (after remove_dropout) changed the outputs" in message
    assert "first at node 'relu'" in message
    assert "Expected at most 1e-05" in message


def test_a_budget_is_respected(graph: Graph) -> None:
    def loose(graph: Graph) -> Graph:
        return halve(graph)

    with pytest.raises(PassError, match="changed the outputs"):
        run_passes(graph, [loose])
    loose.max_error = 0.01  # type: ignore[attr-defined]
    (record,) = run_passes(graph, [loose]).meta["passes"]
    assert 1e-5 < record.max_error < 0.01


def test_no_graph(graph: Graph) -> None:
    def nothing(graph: Graph) -> None:
        return None

    with pytest.raises(PassError, match=r"'nothing' \(the first to run\) returned NoneType"):
        run_passes(graph, [nothing])  # type: ignore[list-item]


def test_an_exception_becomes_a_pass_error(graph: Graph) -> None:
    def clumsy(graph: Graph) -> Graph:
        raise KeyError("oops")

    with pytest.raises(PassError, match=r"'clumsy' \(the first to run\) raised KeyError: 'oops'"):
        run_passes(graph, [clumsy])


def test_illegal_result(graph: Graph) -> None:
    def python_function(graph: Graph) -> Graph:
        next(calls(graph, aten.relu.default)).target = torch.relu
        return graph

    with pytest.raises(PassError, match="broke the graph: node 'relu' calls <built-in"):
        run_passes(graph, [python_function])


def test_wrong_description(graph: Graph) -> None:
    def transpose(graph: Graph) -> Graph:
        node = next(calls(graph, aten.relu.default))
        with graph.graph.inserting_after(node):
            turned = graph.graph.call_function(aten.t.default, (node,))
        turned.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(turned, delete_user_cb=lambda user: user is not turned)
        graph.recompile()
        return graph

    with pytest.raises(PassError, match=r"node 't_default' computes torch.float32\[3, 2\]"):
        run_passes(graph, [transpose])


def test_illegal_graph_and_inputs(graph: Graph) -> None:
    with pytest.raises(InputError, match=r"found torch.float32\[2, 4\]"):
        run_passes(graph, [], [torch.randn(2, 4)])
    next(calls(graph)).target = torch.relu
    with pytest.raises(GraphError, match=r"torch\.ops\.aten"):
        run_passes(graph, [])


def test_the_graph_given_stays(graph: Graph) -> None:
    before = graph.code
    after = run_passes(graph, [remove_dropout])
    assert graph.code == before != after.code


def test_functional_passes(graph: Graph) -> None:
    def functional(graph: Graph) -> Graph:
        return import_torch(graph, (torch.zeros(2, 5),))

    (record,) = run_passes(graph, [functional]).meta["passes"]
    assert record.max_error == 0


def test_records_and_reasons(graph: Graph) -> None:
    def reluctant(graph: Graph) -> Graph:
        for node in calls(graph, aten.tanh.default):
            no("it is the last", node)
        return graph

    seen: list[PassRecord] = []
    after = run_passes(graph, [remove_dropout, reluctant], on_pass=seen.append)
    assert seen == after.meta["passes"]
    first, second = seen
    assert (first.name, first.nodes_before, first.nodes_after) == ("remove_dropout", 4, 3)
    assert first.bytes_before == first.bytes_after == 4 * (15 + 3)
    assert [str(reason) for reason in second.reasons] == ["tanh: it is the last"]


def test_dump(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNUS_DUMP", str(tmp_path / "dump"))
    run_passes(graph, [remove_dropout])
    assert [path.name for path in sorted((tmp_path / "dump").iterdir())] == ["00_import.txt", "01_remove_dropout.txt"]
    text = (tmp_path / "dump" / "01_remove_dropout.txt").read_text()
    assert "tanh: float32[2, 3] = aten.tanh(relu)\n" in text
    assert "-dropout: float32[2, 3] = aten.dropout(relu, 0.5, False)\n" in text


def test_debug(graph: Graph, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PRUNUS_DEBUG", "1")
    run_passes(graph, [remove_dropout])
    assert capsys.readouterr().err.split()[0] == "remove_dropout"
    assert not capsys.readouterr().out


def test_integer_inputs_may_index_a_table() -> None:
    graph = import_torch(nn.Embedding(2, 3), (torch.zeros(4, dtype=torch.long),))
    assert run_passes(graph, [remove_dropout])


def test_noise_is_no_error() -> None:
    """A graph that magnifies rounding may move by a few times its own rounding error."""

    class Ill(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + 1000) - 1000

    def regroup(graph: Graph) -> Graph:
        for node in calls(graph, aten.sub.Tensor):
            emit = Emitter(graph, node)
            (x,) = (source for source in graph.graph.nodes if source.op == "placeholder")
            replace(node, emit(aten.add.Tensor, x, 0.0))
        return tidy(graph)

    assert run_passes(import_torch(Ill(), (torch.randn(99),)), [regroup])


def test_jumps_are_no_error() -> None:
    """Where rounding decides over a jump, float64 may agree by luck; moving inputs and weights a little tells."""

    class Jump(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.floor(x * 3)

    def scale(factor: float) -> Callable[[Graph], Graph]:
        def regroup(graph: Graph) -> Graph:
            for node in calls(graph, aten.mul.Tensor):
                node.update_arg(1, factor)
            return tidy(graph)

        return regroup

    x = torch.full((99,), 1 / 3)
    graph = import_torch(Jump(), (x,))
    rounded = float(torch.nextafter(torch.tensor(3.0), torch.tensor(0.0)))
    assert torch.equal(run_passes(graph, [scale(rounded)], (x,))(x)[0], torch.zeros(99))
    with pytest.raises(PassError, match="changed the outputs"):
        run_passes(graph, [scale(30)], (x,))


def test_graph_pass_keeps_its_budget() -> None:
    @graph_pass(max_error=0.5)
    def rough(graph: Graph) -> Graph:
        return graph

    try:
        assert rough.max_error == 0.5  # type: ignore[attr-defined]
    finally:
        unregister("rough")
