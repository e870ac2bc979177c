"""Normalisation layers against ONNX Runtime."""

import numpy as np
import pytest
import torch

from prunus.errors import ImportModelError
from prunus.frontend.onnx import import_onnx
from prunus.passes.graph import aten, calls
from tests.frontend.onnx.harness import Case, case, check_case, held, model_of, noise

_X = noise(2, 6, 5, 7)
_STATISTICS = (held(noise(6)), held(noise(6, seed=1)), held(noise(6, seed=2)), held(np.abs(noise(6, seed=3)) + 0.1))

CASES = [
    case("BatchNormalization", _X, *_STATISTICS),
    case("BatchNormalization", noise(3, 6), *_STATISTICS, opset=9, epsilon=1e-3, momentum=0.99),
    case("InstanceNormalization", _X, held(noise(6)), held(noise(6, seed=1))),
    case("InstanceNormalization", _X, held(np.ones(6), "float32"), held(np.zeros(6), "float32")),
    case("LayerNormalization", _X, held(noise(7)), held(noise(7, seed=1))),
    case("LayerNormalization", _X, held(noise(5, 7)), axis=-2, epsilon=1e-2),
    case("LayerNormalization", _X, held(noise(1, 7)), held(noise(5, 7)), axis=2),
    case("GroupNormalization", _X, held(noise(6)), held(noise(6, seed=1)), num_groups=3, opset=21),
    case("LRN", _X, size=3),
    case("LRN", _X, size=5, alpha=0.1, beta=0.5, bias=2.0),
    case("LpNormalization", _X, axis=1),
    case("LpNormalization", _X, p=1),
    case("MeanVarianceNormalization", _X),
    case("Dropout", _X),
    case("Dropout", _X, ratio=0.3, opset=7),
    case("Dropout", _X, held(np.float32(0.3))),
]


@pytest.mark.parametrize("one", CASES, ids=str)
def test_equals_onnx_runtime(one: Case) -> None:
    check_case(one)


def test_one_scale_a_group() -> None:
    """ONNX Runtime knows version 18 by a function body only; the definition is short enough to compare with."""
    scale, bias = noise(3), noise(3, seed=1)
    graph = import_onnx(model_of(case("GroupNormalization", _X, held(scale), held(bias), num_groups=3)))
    grouped = torch.from_numpy(_X).reshape(2, 3, -1)
    mean, var = grouped.mean(-1, keepdim=True), grouped.var(-1, keepdim=True, unbiased=False)
    normal = (grouped - mean) / torch.sqrt(var + 1e-5)
    expected = (normal * torch.from_numpy(scale)[:, None] + torch.from_numpy(bias)[:, None]).reshape(_X.shape)
    torch.testing.assert_close(graph(torch.from_numpy(_X))[0], expected)


def test_batch_norm_can_be_trained() -> None:
    graph = check_case(case("BatchNormalization", _X, *_STATISTICS))
    (node,) = calls(graph, aten.batch_norm)
    assert node.args[5:7] == (False, 0.1)
    assert [name for name, _ in graph.named_parameters()] == ["input_1", "input_2"]
    assert [name for name, _ in graph.named_buffers()] == ["input_3", "input_4"]


def test_dropout_is_kept() -> None:
    (node,) = calls(check_case(case("Dropout", _X, ratio=0.25, opset=7)))
    assert (node.target, node.args[1:]) == (aten.dropout.default, (0.25, False))


def test_training_mode_is_refused() -> None:
    with pytest.raises(ImportModelError, match="training mode"):
        import_onnx(model_of(case("BatchNormalization", _X, *_STATISTICS, opset=15, training_mode=1, outputs=3)))
