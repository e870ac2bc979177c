"""Calls that return what they read go; look-alikes stay."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from prunus.passes import decompose, fold_constants, remove_dead_code, remove_identities

IMAGE = torch.randn(2, 3, 5, 7)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 0,
        lambda x: 0.0 + x,
        lambda x: x - 0,
        lambda x: x * 1,
        lambda x: x / 1,
        lambda x: x + torch.zeros(7),
        lambda x: x * torch.ones(5, 1),
        lambda x: x.reshape(2, 3, 5, 7),
        lambda x: x.permute(0, 1, 2, 3),
        lambda x: x.transpose(1, 1),
        lambda x: x.expand(-1, -1, -1, -1),
        lambda x: x[:, 0:3],
        lambda x: x.contiguous().clone(),
        lambda x: x.float(),
        lambda x: F.pad(x, (0, 0)),
        lambda x: torch.cat([x], 1),
        lambda x: F.max_pool2d(x, 1),
        lambda x: F.avg_pool2d(x, 1, 1),
        lambda x: x.clamp(min=-torch.inf),
    ],
)
def test_goes(apply, operators, formula, function: Callable[[Tensor], Tensor]) -> None:
    module = formula(lambda x: function(x.tanh()))
    graph = apply(module, [IMAGE], fold_constants, decompose, fold_constants, remove_identities)
    assert operators(graph) == ["tanh"]


@pytest.mark.parametrize(
    ("function", "kept"),
    [
        (lambda x: x + 1e-9, "add"),
        (lambda x: 0 - x, "sub"),
        (lambda x: 1 / x, "reciprocal"),
        (lambda x: x[:1] + torch.zeros(4, 1, 1, 1), "add"),
        (lambda x: x.permute(0, 1, 3, 2), "permute"),
        (lambda x: x[:, ::2], "slice"),
        (lambda x: x.double(), "_to_copy"),
        (lambda x: F.pad(x, (0, 1)), "constant_pad_nd"),
        (lambda x: F.avg_pool2d(x, 1, divisor_override=2), "avg_pool2d"),
        (lambda x: F.max_pool2d(x, 1, 2), "max_pool2d"),
        (lambda x: x.relu(), "relu"),
    ],
)
def test_stays(apply, operators, formula, function: Callable[[Tensor], Tensor], kept: str) -> None:
    graph = apply(formula(function), [IMAGE], fold_constants, decompose, fold_constants, remove_identities)
    assert kept in operators(graph)


def test_parameters_of_one_can_still_be_trained(apply, operators, formula) -> None:
    graph = apply(formula(lambda x, gamma: x * gamma, gamma=torch.ones(7)), [IMAGE], remove_identities)
    assert operators(graph) == ["mul"]


@pytest.mark.parametrize("function", [lambda x: x.sigmoid().relu(), lambda x: x.clamp(0, 1).relu()])
def test_relu_of_what_is_not_negative(apply, operators, formula, function: Callable[[Tensor], Tensor]) -> None:
    assert "relu" not in operators(apply(formula(function), [IMAGE], decompose, remove_identities))


def test_reductions_of_one_element_are_views(apply, operators, formula) -> None:
    graph = apply(formula(lambda x: x.mean((2, 3))), [torch.randn(2, 3, 1, 1)], decompose, remove_identities)
    assert operators(graph) == ["reshape"]


def test_dead_code_goes_with_its_weights(apply, operators, formula) -> None:
    def wasteful(x: Tensor, w: Tensor) -> Tensor:
        x @ w
        return x.relu()

    graph = apply(formula(wasteful, w=torch.randn(7, 7)), [IMAGE], remove_dead_code)
    assert operators(graph) == ["relu"]
    assert not list(graph.parameters())
