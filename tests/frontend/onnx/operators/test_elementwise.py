"""Element-wise operators against ONNX Runtime."""

import numpy as np
import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, held, integers, noise

_X, _Y, _ROW = noise(2, 3, 7), noise(2, 3, 7, seed=1), noise(7, seed=2)
_POSITIVE = np.abs(_X) + 0.1
_UNIT = np.tanh(_X)
_I, _J = integers(2, 7, low=-9, high=9), integers(2, 7, low=1, high=5)
_P, _Q = _X > 0, _Y > 0

CASES = [
    *(case(name, _X) for name in ("Abs", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Neg", "Round", "Sign", "Sin")),
    *(case(name, _X) for name in ("Atan", "Asinh", "Sinh", "Tan", "Identity")),
    *(case(name, _POSITIVE) for name in ("Log", "Reciprocal", "Sqrt")),
    *(case(name, _UNIT) for name in ("Acos", "Asin", "Atanh")),
    case("Acosh", _POSITIVE + 1),
    case("Not", _P),
    *(case(name, _P, _Q) for name in ("And", "Or", "Xor")),
    *(case(name, _X, _ROW) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *(case(name, _X, held(np.float32(0.7))) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *(case(name, held(np.float32(0.7)), _POSITIVE) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    case("Div", held(np.float32(1)), _POSITIVE),
    case("Add", held(noise(1, 1, 1, 1)), _X),
    case("Sub", _X, held(_ROW)),
    case("Div", _I, _J),
    case("Div", _I, held(np.int64(4))),
    case("Mod", _I, _J),
    case("Mod", _I, -_J),
    case("Mod", _X, _ROW, fmod=1),
    case("Pow", _POSITIVE, held(np.float32(2))),
    case("Pow", _POSITIVE, held(np.int64(3))),
    case("Pow", _POSITIVE, _ROW),
    case("Pow", _I, held(np.float32(2)), opset=13),
    case("Sum", _X, _Y, _ROW),
    case("Mean", _X, _Y, _ROW),
    case("Max", _X, _Y, _ROW),
    case("Min", _X),
    *(case(name, _X, _Y) for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(case(name, _X, held(np.float32(0.1))) for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(case(name, held(np.float32(0.1)), _X) for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    case("Equal", _I, held(np.int64(2))),
    case("Equal", _P, _Q),
    case("Where", _P, _X, _Y),
    case("Where", _P, _X, held(np.float32(-3))),
    case("Where", _P, held(np.float32(-3)), _X),
    case("Where", held(_P), _X, held(np.float32(-3))),
    case("Where", _X[0, 0] > 0, held(noise(3, 1)), _X),
    case("Cast", _X * 9, to=7),
    case("Cast", _I, to=1),
    case("Cast", _X, to=1),
    case("Cast", _X, to=9),
    case("Cast", _P, to=6),
    case("Cast", _X, to=11),
    case("Cast", _X, to=10),
    case("CastLike", _I, _X),
    case("IsNaN", np.where(_P, np.nan, _X).astype("float32")),
    case("IsInf", np.where(_P, np.inf, -np.inf).astype("float32"), detect_negative=0),
    case("IsInf", np.where(_P, np.inf, 1).astype("float32")),
    case("BitShift", integers(5, dtype="uint8"), integers(5, dtype="uint8"), direction="LEFT"),
    case("BitShift", integers(5, high=200, dtype="uint8"), integers(5, dtype="uint8"), direction="RIGHT"),
    *(case(name, _I, _J) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    case("BitwiseNot", _I),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


def test_numbers_are_written_as_numbers() -> None:
    graph = check_case(case("Mul", held(np.float32(0.5)), _X))
    (node,) = calls(graph, aten.mul)
    assert node.args[1] == 0.5
