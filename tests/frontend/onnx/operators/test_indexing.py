"""Reading and writing by index against ONNX Runtime."""

import numpy as np
import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, held, integers, noise

_X = noise(4, 5, 6)
_ELEMENTS = integers(4, 2, 6, low=-5, high=5)

CASES = [
    case("Gather", held(noise(11, 5)), integers(2, 3, high=11)),
    case("Gather", held(noise(11, 5)), integers(2, 3, high=11, dtype="int32")),
    case("Gather", _X, held(np.int64(-1)), axis=1),
    case("Gather", _X, held([0, -2, 3]), axis=2),
    case("Gather", _X, integers(3), axis=1),
    case("Gather", _X, integers(2, 3), axis=1),
    case("Gather", held(noise(3, 4, 5)), integers(2, high=3)),
    case("GatherElements", _X, _ELEMENTS, axis=1),
    case("GatherElements", _X, held(_ELEMENTS.astype("int32")), axis=-2),
    case("GatherND", _X, integers(3, 2, high=4)),
    case("GatherND", _X, held(integers(4, 2, 1, high=5)), batch_dims=1),
    case("GatherND", _X, held([[-1, 0, 2], [0, 1, 1]])),
    case("ScatterElements", _X, held([[[0, 1]], [[1, 2]]]), noise(2, 1, 2), axis=2),
    case("ScatterElements", _X, held([[[0, 1]], [[1, -1]]]), noise(2, 1, 2), axis=2, reduction="add"),
    case("ScatterElements", _X, held([[[0, 1]], [[1, 2]]]), noise(2, 1, 2), axis=2, reduction="max"),
    case("ScatterND", _X, held([[0], [2]]), noise(2, 5, 6)),
    case("ScatterND", _X, held([[0, 1], [0, 1]]), noise(2, 6), reduction="add"),
    case("OneHot", integers(2, 3, low=-7, high=7), held(np.int64(5)), held([0.0, 1.0], "float32")),
    case("OneHot", integers(2, 3), held(np.int64(5)), held([-2.0, 3.0], "float32"), axis=1),
    case("OneHot", integers(3), held(np.int64(5)), held([0, 1])),
    case("NonZero", held([[1, 0, 2], [0, 0, 3]])),
    case("Compress", _X, held([True, False, True]), axis=1),
    case("Compress", _X, held([False, True, True])),
    case("GridSample", noise(2, 3, 5, 7), np.tanh(noise(2, 4, 6, 2)), align_corners=1),
    case("GridSample", noise(2, 3, 5, 7), noise(2, 4, 6, 2), mode="nearest", padding_mode="border"),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


def test_rows_of_a_table_are_an_embedding() -> None:
    graph = check_case(case("Gather", held(noise(11, 5)), integers(2, 3, high=11)))
    assert [node.target for node in calls(graph)] == [aten.embedding.default]
    assert [name for name, _ in graph.named_parameters()] == ["input_0"]
