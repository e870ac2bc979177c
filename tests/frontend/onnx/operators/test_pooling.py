"""Pooling against ONNX Runtime."""

import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, noise

_X1, _X2, _X3 = noise(2, 3, 17), noise(2, 3, 13, 17), noise(1, 2, 5, 7, 6)

CASES = [
    case("MaxPool", _X1, kernel_shape=[3], strides=[2]),
    case("MaxPool", _X2, kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", _X2, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", _X2, kernel_shape=[3, 2], strides=[2, 3], pads=[0, 1, 1, 0]),
    case("MaxPool", _X2, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    case("MaxPool", _X2, kernel_shape=[3, 3], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1),
    case("MaxPool", _X2, kernel_shape=[3, 3], dilations=[2, 1], pads=[1, 0, 1, 0]),
    case("MaxPool", _X2, kernel_shape=[3, 4], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("MaxPool", _X2, kernel_shape=[3, 4], strides=[2, 2], auto_pad="SAME_LOWER", opset=8),
    case("MaxPool", _X2, kernel_shape=[5, 5], pads=[3, 3, 3, 3]),
    case("MaxPool", _X3, kernel_shape=[2, 3, 2], strides=[1, 2, 1]),
    case("AveragePool", _X1, kernel_shape=[3], strides=[2], pads=[1, 1]),
    case("AveragePool", _X2, kernel_shape=[2, 2], strides=[2, 2]),
    case("AveragePool", _X2, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    case("AveragePool", _X2, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", _X2, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 2]),
    case("AveragePool", _X2, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 2], count_include_pad=1),
    case("AveragePool", _X2, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", _X2, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, opset=19),
    case("AveragePool", _X2, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1, opset=19),
    case("AveragePool", _X3, kernel_shape=[2, 3, 2]),
    case("LpPool", _X2, kernel_shape=[3, 2], strides=[2, 2]),
    case("LpPool", _X2, kernel_shape=[3, 3], pads=[1, 1, 1, 1], p=3),
    case("GlobalAveragePool", _X1),
    case("GlobalAveragePool", _X2),
    case("GlobalMaxPool", _X2),
    case("GlobalLpPool", _X2),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


def test_plain_pooling_is_one_operator() -> None:
    graph = check_case(case("MaxPool", _X2, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    assert [node.target for node in calls(graph)] == [aten.max_pool2d.default]
