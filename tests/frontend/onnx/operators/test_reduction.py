"""Reductions against ONNX Runtime."""

import numpy as np
import pytest

from tests.frontend.onnx.harness import Case, case, check_case, held, integers, noise

_X = noise(2, 3, 5, 7)
_POSITIVE = np.abs(_X) + 0.1
_TIES = integers(4, 9, high=3).astype("float32")
_NAMES = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

CASES = [
    *(case(f"Reduce{name}", _X, held([1, -1]), keepdims=0) for name in _NAMES),
    *(case(f"Reduce{name}", _X, axes=[2], opset=11) for name in _NAMES),
    *(case(f"Reduce{name}", _X) for name in _NAMES),
    case("ReduceLogSum", _POSITIVE, held([2])),
    case("ReduceSum", _X, opset=13, noop_with_empty_axes=1),
    case("ReduceSum", integers(3, 4), held([0]), opset=13),
    case("ReduceMean", integers(3, 4), held([0])),
    case("ReduceMax", integers(3, 4), held([1])),
    *(case(name, _X, axis=axis, keepdims=keep) for name in ("ArgMax", "ArgMin") for axis, keep in ((1, 1), (-1, 0))),
    case("ArgMax", _TIES, axis=1, opset=11),
    case("ArgMax", _TIES, axis=1, select_last_index=1),
    case("CumSum", _X, held(np.int64(2))),
    case("CumSum", _X, held(np.int64(-1)), exclusive=1, reverse=1),
    case("CumSum", integers(3, 4, dtype="int32"), held(np.int64(1)), exclusive=1),
    case("TopK", _X, held([3]), axis=3, outputs=2),
    case("TopK", _X, held([2]), axis=1, largest=0, outputs=2),
    case("TopK", _X, k=2, axis=2, outputs=2, opset=9),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)
