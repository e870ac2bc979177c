"""Attention against ONNX Runtime."""

import numpy as np
import pytest

from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, held, noise

_Q, _K, _V = noise(2, 3, 5, 7), noise(2, 3, 11, 7, seed=1), noise(2, 3, 11, 9, seed=2)
_MASK = noise(5, 11)

CASES = [
    case("Attention", _Q, _K, _V, opset=23),
    case("Attention", _Q, _K, _V, held(_MASK), opset=23, scale=0.3),
    case("Attention", _Q, _K, _V, held(_MASK > 0), opset=23),
    case("Attention", _Q, _Q, _Q, opset=23, is_causal=1),
    case("Attention", noise(2, 5, 12), noise(2, 7, 6), noise(2, 7, 8), opset=23, q_num_heads=4, kv_num_heads=2),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    graph = check_case(one)
    assert len(list(calls(graph, aten.scaled_dot_product_attention))) == 1


def test_a_mask_may_be_an_input() -> None:
    check_case(case("Attention", _Q, _K, _V, np.asarray(_MASK), opset=23))
