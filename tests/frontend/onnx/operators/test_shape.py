"""Operators that move elements against ONNX Runtime."""

import numpy as np
import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, held, noise

_X = noise(2, 6, 5, 7)
_END = np.iinfo(np.int64).max

CASES = [
    case("Shape", _X),
    case("Shape", _X, start=1, end=-1),
    case("Size", _X),
    case("Reshape", _X, held([0, -1, 7])),
    case("Reshape", _X, held([2, 6, 5, 7])),
    case("Reshape", np.zeros((0, 3), "float32"), held([3, 0]), allowzero=1),
    case("Flatten", _X),
    case("Flatten", _X, axis=-1),
    case("Flatten", _X, axis=0),
    case("Transpose", _X),
    case("Transpose", _X, perm=[0, 2, 3, 1]),
    case("Squeeze", noise(1, 3, 1, 4)),
    case("Squeeze", noise(1, 3, 1, 4), held([-2])),
    case("Squeeze", noise(1, 3, 1, 4), axes=[0, 2], opset=11),
    case("Unsqueeze", noise(3, 4), held([0, -1])),
    case("Unsqueeze", noise(3, 4), axes=[1], opset=11),
    case("Expand", noise(3, 1), held([2, 1, 4])),
    case("Expand", noise(3, 1), held([1])),
    case("Tile", noise(3, 4), held([2, 3])),
    case("Tile", noise(3, 4), held([1, 1])),
    case("Concat", _X, noise(2, 1, 5, 7), held(noise(2, 3, 5, 7)), axis=1),
    case("Concat", _X, axis=-1),
    case("Split", _X, held([1, 3, 2]), axis=1, outputs=3),
    case("Split", _X, split=[2, 5], axis=-1, outputs=2, opset=11),
    case("Split", _X, axis=1, outputs=3, opset=13),
    case("Split", _X, axis=3, outputs=4, num_outputs=4),
    case("Slice", _X, held([1, -3]), held([4, _END]), held([1, 3])),
    case("Slice", _X, held([0]), held([_END]), held([3]), held([2])),
    case("Slice", _X, held([-1]), held([-_END]), held([2]), held([-1])),
    case("Slice", _X, held([5]), held([0]), held([3]), held([-2])),
    case("Slice", _X, held([4]), held([2]), held([2])),
    case("Slice", _X, held([0, 1]), held([1, 4])),
    case("Slice", _X, axes=[2], starts=[1], ends=[100], opset=9),
    case("Pad", _X, held([0, 0, 1, 2, 0, 0, 3, 0])),
    case("Pad", _X, held([0, 0, 1, 2, 0, 0, 3, 0]), held(np.float32(-1.5))),
    case("Pad", _X, held([0, 1, -1, 0, 1, 0, 0, -2])),
    case("Pad", _X, held([1, 2]), None, held([2]), opset=18),
    case("Pad", _X, pads=[0, 0, 1, 1, 0, 0, 2, 2], value=3.0, opset=10),
    *(case("Pad", _X, held([0, 0, 1, 2, 0, 0, 3, 0]), mode=mode) for mode in ("reflect", "edge")),
    *(case("Pad", _X, held([0, 0, 1, 2, 0, 0, 3, 0]), mode=mode, opset=19) for mode in ("wrap",)),
    *(case("Pad", _X, held([1, 2, 0, 3, 0, 1, 2, 0]), mode=mode) for mode in ("reflect", "edge")),
    case("Pad", noise(3, 7), held([0, 2, 0, 1]), mode="reflect"),
    case("Pad", noise(7), held([2, 1]), mode="reflect"),
    case("ConstantOfShape", held([2, 3])),
    case("Range", held(np.int64(2)), held(np.int64(11)), held(np.int64(3))),
    case("Range", held(np.float32(1)), held(np.float32(-1)), held(np.float32(-0.3))),
    case("EyeLike", noise(3, 5), k=1),
    case("Trilu", _X),
    case("Trilu", _X, held(np.int64(-1)), upper=0),
    case("DepthToSpace", noise(1, 8, 3, 5), blocksize=2),
    case("DepthToSpace", noise(1, 8, 3, 5), blocksize=2, mode="CRD"),
    case("SpaceToDepth", noise(1, 3, 4, 6), blocksize=2),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


@pytest.mark.parametrize(
    "one",
    [
        case("Reshape", _X, held([2, 6, 5, 7])),
        case("Slice", _X, held([0]), held([_END])),
        case("Pad", _X, held([0] * 8)),
        case("Tile", _X, held([1, 1, 1, 1])),
        case("Expand", _X, held([1])),
    ],
    ids=str,
)
def test_nothing_to_do_leaves_no_node(one: Case) -> None:
    assert list(calls(check_case(one))) == []


def test_reflection_of_the_last_axes_is_pytorch_padding() -> None:
    graph = check_case(case("Pad", _X, held([0, 0, 1, 2, 0, 0, 3, 0]), mode="reflect"))
    assert [node.target for node in calls(graph)] == [aten.pad.default]
