"""Convolutions against ONNX Runtime."""

import pytest
import torch

from prunus.passes.graph import calls
from tests.frontend.onnx.harness import Case, case, check_case, held, noise

_X1, _X2, _X3 = noise(2, 6, 17), noise(2, 6, 13, 17), noise(1, 4, 5, 7, 6)

CASES = [
    case("Conv", _X1, held(noise(5, 6, 3)), kernel_shape=[3], pads=[1, 1]),
    case("Conv", _X1, held(noise(5, 6, 4)), held(noise(5)), strides=[3], pads=[0, 2]),
    case("Conv", _X2, held(noise(7, 6, 3, 3)), held(noise(7)), pads=[1, 1, 1, 1], strides=[2, 2]),
    case("Conv", _X2, held(noise(7, 6, 1, 1))),
    case("Conv", _X2, held(noise(6, 1, 5, 3)), group=6, pads=[2, 1, 2, 1], dilations=[1, 2]),
    case("Conv", _X2, held(noise(4, 3, 3, 3)), group=2, pads=[0, 1, 2, 3]),
    case("Conv", _X2, held(noise(7, 6, 3, 4)), auto_pad="SAME_UPPER", strides=[2, 3]),
    case("Conv", _X2, held(noise(7, 6, 2, 4)), auto_pad="SAME_LOWER", strides=[2, 1]),
    case("Conv", _X2, held(noise(7, 6, 2, 4)), auto_pad="VALID", opset=7),
    case("Conv", _X2, noise(7, 6, 2, 4)),
    case("Conv", _X3, held(noise(3, 4, 3, 2, 3)), held(noise(3)), pads=[1, 0, 1, 1, 0, 1], strides=[1, 2, 1]),
    case("ConvTranspose", _X1, held(noise(6, 5, 4)), strides=[2], pads=[1, 1]),
    case("ConvTranspose", _X1, held(noise(6, 2, 4)), held(noise(4)), strides=[3], group=2, output_padding=[1]),
    case("ConvTranspose", _X2, held(noise(6, 5, 3, 3)), held(noise(5)), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", _X2, held(noise(6, 5, 3, 3)), strides=[2, 2], pads=[1, 1, 0, 0]),
    case("ConvTranspose", _X2, held(noise(6, 5, 3, 3)), strides=[2, 2], pads=[0, 0, 1, 2]),
    case("ConvTranspose", _X2, held(noise(6, 5, 3, 2)), dilations=[2, 3], output_padding=[0, 0], pads=[1, 0, 1, 1]),
    case("ConvTranspose", _X2, held(noise(6, 5, 3, 3)), strides=[2, 2], output_shape=[26, 33]),
    case("ConvTranspose", _X2, held(noise(6, 5, 3, 3)), strides=[3, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", _X2, held(noise(6, 5, 4, 4)), strides=[3, 3], auto_pad="SAME_LOWER"),
    case("ConvTranspose", _X3, held(noise(4, 2, 2, 2, 2)), strides=[2, 2, 2]),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


def test_weights_are_parameters() -> None:
    graph = check_case(case("Conv", _X2, held(noise(7, 6, 3, 3)), held(noise(7)), pads=[1, 1, 1, 1]))
    assert [(name, tuple(parameter.shape)) for name, parameter in graph.named_parameters()] == [
        ("input_1", (7, 6, 3, 3)),
        ("input_2", (7,)),
    ]
    assert [node.target for node in calls(graph)] == [torch.ops.aten.conv2d.default]
