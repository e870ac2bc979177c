"""Activation functions against ONNX Runtime."""

import numpy as np
import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, held, noise

_X = noise(2, 3, 5, 7) * 3
_ROWS = noise(3, 17) * 3

CASES = [
    *(case(name, _X) for name in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish")),
    *(case(name, _X) for name in ("LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "ThresholdedRelu", "Shrink")),
    case("LeakyRelu", _X, alpha=0.3),
    case("Elu", _X, alpha=0.3),
    case("Selu", _X, alpha=1.5, gamma=1.1),
    case("Celu", _X, alpha=2.0),
    case("HardSigmoid", _X, alpha=1 / 6, beta=0.5),
    case("ThresholdedRelu", _X, alpha=0.4),
    case("Shrink", _X, bias=0.2, lambd=1.5),
    case("PRelu", _X, held(noise(3, 1, 1))),
    case("PRelu", _X, held(noise(1))),
    case("PRelu", _X, held(noise(7))),
    case("PRelu", _X, noise(3, 1, 1)),
    case("PRelu", _ROWS, held(noise(17))),
    case("Clip", _X, opset=6 + 1, min=-1.0, max=2.0),
    case("Clip", _X, opset=7, max=2.0),
    case("Clip", _X, held(np.float32(0)), held(np.float32(6))),
    case("Clip", _X, None, held(np.float32(1))),
    case("Clip", _X),
    case("Clip", _X, np.array(-1, "float32"), np.array(1, "float32")),
    case("Gelu", _X, opset=20),
    case("Gelu", _X, opset=20, approximate="tanh"),
    *(case(name, _X, opset=opset) for name in ("Softmax", "LogSoftmax") for opset in (11, 13)),
    *(case(name, _X, opset=opset, axis=2) for name in ("Softmax", "LogSoftmax") for opset in (11, 13)),
    case("Softmax", _ROWS, opset=9),
    case("Hardmax", _X, axis=1, opset=13),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


@pytest.mark.parametrize(
    ("one", "target"),
    [
        (case("HardSigmoid", _X, alpha=1 / 6, beta=0.5), aten.hardsigmoid),
        (case("HardSwish", _X), aten.hardswish),
        (case("PRelu", _X, held(noise(3, 1, 1))), aten.prelu),
        (case("Softmax", _ROWS, opset=9), aten.softmax),
        (case("Clip", _X, held(np.float32(0)), held(np.float32(6))), aten.clamp),
    ],
    ids=str,
)
def test_becomes_one_operator(one: Case, target: object) -> None:
    assert [node.target.overloadpacket for node in calls(check_case(one))] == [target]  # type: ignore[union-attr]
