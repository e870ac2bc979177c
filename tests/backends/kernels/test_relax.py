"""Operators without a family go through TVM Relax, and nothing that Relax gets wrong gets through."""

import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from prunus.backends.kernels.expression import Accumulator, Apply, Number, Operand
from prunus.backends.kernels.relax import LongTailOperators
from tests.backends.kernels.harness import After, check_kernel

aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    operator: Any
    arguments: tuple[Any, ...]
    constants: tuple[int, ...] = ()

    def __str__(self) -> str:
        return str(self.operator)


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


CASES = [
    Case(aten.conv3d.default, (_normal(1, 3, 5, 6, 7), _normal(4, 3, 3, 3, 3), None, [1, 2, 1], [1, 1, 1])),
    Case(aten.conv3d.default, (_normal(2, 2, 3, 4, 5), _normal(3, 2, 1, 2, 3), _normal(3)), (1, 2)),
    Case(aten.avg_pool3d.default, (_normal(1, 3, 5, 6, 7), [2, 2, 2], [2, 1, 2])),
    Case(aten.max_pool3d.default, (_normal(1, 3, 5, 6, 7), [2, 2, 2], [2, 2, 2])),
    Case(aten.tril.default, (_normal(5, 7), 1)),
    Case(aten.triu.default, (_normal(3, 7), -1)),
    Case(aten.roll.default, (_normal(3, 7), [2], [1])),
    Case(aten.scatter.src, (_normal(3, 5), 1, torch.tensor([[0, 4], [1, 3], [2, 0]]), _normal(3, 2))),
    Case(aten.atan2.default, (_normal(3, 7), _normal(3, 7))),
    Case(aten.var.correction, (_normal(4, 16), [1])),
    Case(aten.instance_norm.default, (_normal(2, 3, 8), None, None, None, None, True, 0.1, 1e-5, False)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_long_tail(case: Case) -> None:
    check_kernel(LongTailOperators(), case.operator, case.arguments, constants=case.constants)


def test_epilogue() -> None:
    def after(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + bias)

    sum_ = Apply("add", (Accumulator(), Operand(0, "float32")), "float32")
    expression = Apply("max", (sum_, Number(0.0, "float32")), "float32")
    epilogue = After(expression, after, (_normal(4, 1, 1, 1),))
    given = (_normal(1, 3, 5, 6, 7), _normal(4, 3, 3, 3, 3))
    check_kernel(LongTailOperators(), aten.conv3d.default, given, constants=[1], after=epilogue)


@pytest.mark.parametrize("target", ["x86-64-v3", "rpi4"])
def test_targets(target: str) -> None:
    check_kernel(LongTailOperators(), aten.avg_pool3d.default, (_normal(1, 3, 5, 6, 7), [2, 2, 2]), target=target)


@pytest.mark.parametrize(
    ("operator", "arguments", "reason"),
    [
        (aten.grid_sampler_2d.default, (_normal(1, 3, 8, 8), _normal(1, 5, 5, 2), 0, 0, False), "PyTorch float32"),
        (aten.max_pool2d_with_indices.default, (_normal(1, 2, 6, 6), [2, 2], [2, 2]), "result 1"),
        (aten.topk.default, (_normal(3, 7), 3), "runtime"),
        (aten.scatter_add.default, (_normal(3, 5), 1, torch.zeros(3, 2, dtype=torch.int64), _normal(3, 2)), "lower"),
    ],
    ids=str,
)
def test_wrong_lowerings_are_refused(operator: Any, arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_kernel(LongTailOperators(), operator, arguments)


def test_problem_is_plain_data() -> None:
    match = check_kernel(LongTailOperators(), aten.tril.default, (_normal(5, 7), 1))
    assert pickle.loads(pickle.dumps(match.problem)) == match.problem
