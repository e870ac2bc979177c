"""Matrix products against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from prunus.frontend.onnx import import_onnx
from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, check_model, held, noise

CASES = [
    case("MatMul", noise(3, 7), held(noise(7, 5))),
    case("MatMul", noise(2, 3, 7), held(noise(7, 5))),
    case("MatMul", noise(7), held(noise(7, 5))),
    case("MatMul", noise(2, 3, 7), noise(2, 7, 5)),
    case("MatMul", noise(2, 3, 7), held(noise(2, 7, 5))),
    case("MatMul", held(noise(3, 7)), noise(2, 7, 5)),
    case("MatMul", noise(3, 7), held(noise(7))),
    case("Gemm", noise(3, 7), held(noise(5, 7)), held(noise(5)), transB=1),
    case("Gemm", noise(3, 7), held(noise(7, 5)), held(noise(1, 5)), alpha=0.5, beta=2.0),
    case("Gemm", noise(7, 3), held(noise(7, 5)), transA=1, opset=13),
    case("Gemm", noise(3, 7), held(noise(7, 5)), held(noise(3, 1))),
    case("Gemm", noise(3, 7), held(noise(7, 5)), held(np.float32(3)), opset=7),
    case("Gemm", noise(3, 7), noise(5, 7), noise(3, 5), transB=1, alpha=3.0),
    case("Einsum", noise(2, 3, 7), noise(2, 5, 7), equation="bid,bjd->bij"),
    case("Einsum", noise(2, 3, 7), held(noise(7, 4)), equation="bid,do"),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


def _matmul_add(*, twice: bool) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "fc.weight"], ["p"]), helper.make_node("Add", ["fc.bias", "p"], ["y"])]
    if twice:
        nodes.append(helper.make_node("Relu", ["p"], ["z"]))
    outputs = ["y", "z"] if twice else ["y"]
    graph = helper.make_graph(
        nodes, "sum", [helper.make_tensor_value_info("x", 1, [2, 3, 7])],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(noise(7, 5), "fc.weight"), numpy_helper.from_array(noise(5), "fc.bias")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_bias_is_absorbed() -> None:
    graph = check_model(_matmul_add(twice=False), [noise(2, 3, 7)])
    assert [node.target for node in calls(graph)] == [aten.linear.default]
    shapes = {name: tuple(parameter.shape) for name, parameter in graph.named_parameters()}
    assert shapes == {"fc.weight": (5, 7), "fc.bias": (5,)}


def test_a_bias_is_not_absorbed_into_a_product_that_is_read_again() -> None:
    graph = check_model(_matmul_add(twice=True), [noise(2, 3, 7)])
    assert len(list(calls(graph, aten.linear))) == 1
    assert len(list(calls(graph, aten.add))) == 1


def test_a_table_and_its_transposition_stay_one_parameter() -> None:
    """Tied embeddings: Gather reads the rows, a transposed product writes scores."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["x"]),
        helper.make_node("Transpose", ["table"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "columns"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes, "tied", [helper.make_tensor_value_info("tokens", 7, [2, 3])], [onnx.ValueInfoProto(name="scores")],
        [numpy_helper.from_array(noise(11, 5), "table")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [name for name, _ in import_onnx(model).named_parameters()] == ["table"]
    check_model(model, [np.array([[0, 3, 10], [4, 4, 1]])])
