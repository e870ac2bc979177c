"""The hook for operators: users' own, replaced and missing ones."""

import numpy as np
import onnx
import pytest
import torch

from prunus.errors import UnsupportedOperators
from prunus.frontend.onnx import Builder, Operation, Value, import_onnx, operator, table
from prunus.frontend.onnx.table import find_rule
from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import case, held, model_of, noise


@pytest.fixture(autouse=True)
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that a test adds are gone after it."""
    copies = {key: table._Versions(list(held.since), list(held.rules)) for key, held in table._TABLE.items()}
    monkeypatch.setattr(table, "_TABLE", copies)


def test_an_operator_of_a_users_domain() -> None:
    model = model_of(case("ScaledGate", noise(2, 5), held(noise(5)), domain="my.company", scale=0.5))
    with pytest.raises(UnsupportedOperators, match=r"my\.company\.ScaledGate x1"):
        import_onnx(model)

    @operator("ScaledGate", domain="my.company")
    def scaled_gate(build: Builder, op: Operation) -> Value:
        gate = build.call(aten.sigmoid.default, build.call(aten.mul.Tensor, op.value(0), op.attribute("scale")))
        weight = build.parameter(op.value(1))
        assert weight is not None
        return build.call(aten.mul.Tensor, gate, weight)

    graph = import_onnx(model)
    x = torch.from_numpy(noise(2, 5))
    assert torch.equal(graph(x)[0], torch.sigmoid(x * 0.5) * torch.from_numpy(noise(5)))
    assert [name for name, _ in graph.named_parameters()] == ["input_1"]


def test_the_newest_version_that_is_not_newer_than_the_model() -> None:
    def old(build: Builder, op: Operation) -> Value:
        return op.value(0)

    def new(build: Builder, op: Operation) -> Value:
        return op.value(0)

    operator("Versioned", since=4)(new)
    operator("Versioned", since=2)(old)
    assert find_rule("", "Versioned", 1) is None
    assert find_rule("", "Versioned", 3) is old
    assert find_rule("ai.onnx", "Versioned", 4) is new
    assert find_rule("", "Versioned", 22) is new
    assert find_rule("other", "Versioned", 22) is None


def test_a_later_rule_replaces_an_earlier_one() -> None:
    @operator("Relu")
    def leaky(build: Builder, op: Operation) -> Value:
        return build.call(aten.leaky_relu.default, op.value(0), 0.1)

    graph = import_onnx(model_of(case("Relu", noise(3))))
    assert [node.target for node in calls(graph)] == [aten.leaky_relu.default]


def test_all_missing_operators_are_reported_at_once() -> None:
    """Also those in branches; with counts, names, shapes and the hook."""
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Hidden", ["a"], ["h"], name="in_branch", domain="my.company")],
        "branch", [], [onnx.ValueInfoProto(name="h")],
    )  # fmt: skip
    nodes = [
        *(onnx.helper.make_node("Unheard", [a], [b], name=f"u_{b}") for a, b in (("x", "a"), ("a", "b"))),
        onnx.helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner),
        onnx.helper.make_node("Relu", ["b"], ["z"]),
    ]
    flag = onnx.numpy_helper.from_array(np.array(True), "flag")
    graph = onnx.helper.make_graph(
        nodes, "missing", [onnx.helper.make_tensor_value_info("x", 1, ["batch", 3])],
        [onnx.ValueInfoProto(name=name) for name in "yz"], [flag],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("my.company", 1)]
    with pytest.raises(UnsupportedOperators) as caught:
        import_onnx(onnx.helper.make_model(graph, opset_imports=opsets))
    message = str(caught.value)
    assert "Unheard x2: 'u_a'(batchx3), 'u_b'(?)" in message
    assert "my.company.Hidden x2: 'in_branch'(?)" in message
    assert '@prunus.frontend.onnx.operator("Unheard")' in message
