"""Every element-wise operator has a rule, and the rule is PyTorch's."""

from typing import Any

import pytest
import torch

from prunus.backends.kernels.scalar_rules import find_rule
from prunus.passes.fuse import ELEMENTWISE
from prunus.passes.graph import aten
from tests.backends.kernels.chains import check_operator


def numbers(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3


X, Y = numbers(5, 37), numbers(5, 37, seed=1)
POSITIVE, UNIT = X.abs() + 0.1, torch.tanh(X)
WHOLE, OTHER = (X * 4).long(), (Y * 4).long() * 2 + 1
TRUE, ALSO = X > 0, Y > 0
BITS = (aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_xor.Tensor)

CALLS: list[tuple[Any, ...]] = [
    *((operator, X, Y) for operator in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)),
    *((operator, X, Y) for operator in (aten.maximum.default, aten.minimum.default, aten.atan2.default)),
    *((operator, X, POSITIVE) for operator in (aten.remainder.Tensor, aten.fmod.Tensor)),
    (aten.pow.Tensor_Tensor, POSITIVE, UNIT),
    (aten.add.Tensor, X, 2), (aten.add.Tensor, 2.5, X), (aten.sub.Tensor, 1, X), (aten.mul.Tensor, X, 0.25),
    (aten.div.Tensor, X, 4), (aten.div.Tensor, X, 3), (aten.div.Tensor, 1, X), (aten.div.Tensor, WHOLE, OTHER),
    *((operator, WHOLE, OTHER) for operator in (aten.add.Tensor, aten.mul.Tensor, aten.remainder.Tensor)),
    *((operator, WHOLE, OTHER) for operator in BITS), *((operator, TRUE, ALSO) for operator in BITS),
    *((operator, X, Y) for operator in (aten.eq.Tensor, aten.ne.Tensor, aten.lt.Tensor, aten.le.Tensor)),
    (aten.gt.Tensor, X, Y),
    (aten.ge.Tensor, WHOLE, OTHER),
    *((operator, WHOLE, 3) for operator in (aten.eq.Scalar, aten.ne.Scalar, aten.lt.Scalar, aten.le.Scalar)),
    (aten.gt.Scalar, X, 0.5), (aten.ge.Scalar, X, 0.5),
    (aten.where.self, TRUE, X, Y), (aten.where.self, TRUE, WHOLE, OTHER),
    *((operator, X) for operator in (
        aten.relu.default, aten.leaky_relu.default, aten.elu.default, aten.gelu.default, aten.silu.default,
        aten.mish.default, aten.hardswish.default, aten.hardsigmoid.default, aten.softplus.default,
        aten.sigmoid.default, aten.tanh.default, aten.exp.default, aten.expm1.default, aten.abs.default,
        aten.neg.default, aten.sign.default, aten.floor.default, aten.ceil.default, aten.round.default,
        aten.trunc.default, aten.erf.default, aten.sin.default, aten.cos.default, aten.tan.default,
        aten.atan.default, aten.sinh.default, aten.cosh.default,
    )),
    *((operator, POSITIVE) for operator in (
        aten.log.default, aten.log1p.default, aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default,
    )),
    (aten.asin.default, UNIT), (aten.acos.default, UNIT),
    (aten.leaky_relu.default, X, 1.5), (aten.elu.default, X, 0.7), (aten.clamp.default, X, -1, 2),
    (aten.clamp.default, X, None, 0.5), (aten.clamp.default, WHOLE, -2, 5), (aten.softplus.default, X, 3, 5),
    *((aten.pow.Tensor_Scalar, POSITIVE, exponent) for exponent in (2, 3, 0.5, -0.5, -1, 1.7)),
    (aten.abs.default, WHOLE), (aten.neg.default, WHOLE), (aten.sign.default, WHOLE),
    (aten.logical_not.default, TRUE), (aten.logical_not.default, WHOLE), (aten.bitwise_not.default, WHOLE),
    (aten.bitwise_not.default, TRUE),
]  # fmt: skip


def name(call: tuple[Any, ...]) -> str:
    kinds = [
        str(item.dtype).removeprefix("torch.") if isinstance(item, torch.Tensor) else str(item) for item in call[1:]
    ]
    return f"{call[0]}({', '.join(kinds)})"


@pytest.mark.parametrize("call", CALLS, ids=name)
def test_rule(call: tuple[Any, ...]) -> None:
    check_operator(*call, tolerance=4e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    check_operator(aten.gelu.default, X, keywords={"approximate": approximate})


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounded_division(mode: str) -> None:
    for left, right in ((X, POSITIVE), (WHOLE, OTHER)):
        check_operator(aten.div.Tensor_mode, left, right, keywords={"rounding_mode": mode})


@pytest.mark.parametrize("source", [X, WHOLE, TRUE], ids=lambda tensor: str(tensor.dtype))
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int32, torch.bool], ids=str)
def test_conversion(source: torch.Tensor, dtype: torch.dtype) -> None:
    check_operator(aten._to_copy.default, source, keywords={"dtype": dtype})


def test_every_operator_has_a_rule_and_a_row() -> None:
    assert not [operator for operator in ELEMENTWISE if find_rule(operator) is None]
    tested = {call[0] for call in CALLS} | {aten.div.Tensor_mode, aten._to_copy.default}
    # Operators of our own have tests beside their rules.
    assert tested >= {operator for operator in ELEMENTWISE if operator.namespace == "aten"}
