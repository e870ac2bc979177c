"""Lists of tensors against ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.frontend.onnx.harness import check_model, noise


def _model(nodes: list[onnx.NodeProto], constants: dict[str, Any], outputs: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "lists", [helper.make_tensor_value_info("x", 1, [2, 7, 3])],
        [onnx.ValueInfoProto(name=f"y{index}") for index in range(outputs)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("split", "count"), [(np.int64(3), 3), ([2, 5], 2)])
def test_split_and_pick(split: Any, count: int) -> None:
    nodes = [helper.make_node("SplitToSequence", ["x", "split"], ["parts"], axis=1)]
    nodes += [helper.make_node("SequenceAt", ["parts", f"at{index}"], [f"y{index}"]) for index in range(count)]
    constants = {"split": split, **{f"at{index}": np.int64(index - count) for index in range(count)}}
    check_model(_model(nodes, constants, count), [noise(2, 7, 3)])


@pytest.mark.parametrize("new_axis", [0, 1])
def test_construct_and_join(new_axis: int) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("SequenceConstruct", ["x", "r", "x"], ["parts"]),
        helper.make_node("ConcatFromSequence", ["parts"], ["y0"], axis=1, new_axis=new_axis),
    ]
    check_model(_model(nodes, {}, 1), [noise(2, 7, 3)])


def test_unbind() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=2, keepdims=0),
        helper.make_node("SequenceAt", ["parts", "at"], ["y0"]),
    ]
    check_model(_model(nodes, {"at": np.int64(1)}, 1), [noise(2, 7, 3)])
