"""Permutations and reshapes meet and cancel."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.passes import cancel_permutes, decompose

IMAGE = torch.randn(2, 3, 5, 7)


def to_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def to_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: to_first(to_last(x).relu()), ["relu"]),
        (lambda x: to_first(to_last(x) * 2 + to_last(x.tanh())), ["mul", "tanh", "add"]),
        (lambda x: to_first(to_last(x).relu() + torch.arange(3.0)), ["relu", "reshape", "add"]),
        (lambda x: to_first(torch.cat([to_last(x), to_last(x)], 3)), ["cat"]),
        (lambda x: to_first(F.pad(to_last(x), (0, 0, 1, 2))), ["constant_pad_nd"]),
        (lambda x: to_first(to_last(x).softmax(-1)), ["softmax"]),
        (lambda x: to_last(x).mean((1, 2)), ["mean"]),
        (lambda x: to_first(to_last(x).mean((1, 2), keepdim=True)), ["mean"]),
        (lambda x: to_last(x).amax(3).mT, ["amax", "permute"]),
        (lambda x: x.reshape(6, 35).reshape(3, 70), ["reshape"]),
        (lambda x: x.transpose(1, 2).transpose(2, 1), []),
        (lambda x: x[:1].transpose(0, 1), ["slice", "reshape"]),
        (lambda x: x[:1].select(0, 0), ["slice", "reshape"]),
        (lambda x: x.reshape(-1).relu().reshape(2, 3, 5, 7), ["relu"]),
    ],
)
def test_left(apply, operators, formula, function: Callable[[Tensor], Tensor], left: list[str]) -> None:
    assert operators(apply(formula(function), [IMAGE], decompose, cancel_permutes)) == left


def test_permutes_never_become_more(apply, operators, formula) -> None:
    def shared(x: Tensor) -> tuple[Tensor, Tensor]:
        y = to_last(x)
        return y.relu(), y.tanh()

    assert operators(apply(formula(shared), [IMAGE], decompose, cancel_permutes)) == ["permute", "relu", "tanh"]


def excite(x: Tensor) -> Tensor:
    """Squeeze and excite, channels last."""
    y = to_last(x).relu()
    return to_first(y * to_last(to_first(y.mean((1, 2), keepdim=True)).sigmoid()))


def test_all_that_read_a_permutation_move_together(apply, operators, formula) -> None:
    graph = apply(formula(excite), [IMAGE], decompose, cancel_permutes)
    assert "permute" not in operators(graph)


def test_permuted_elements_never_become_more(apply, operators, formula) -> None:
    def function(x: Tensor) -> Tensor:
        y = to_last(x)
        return F.pad(y, (0, 0, 1, 1)).amax((1, 2), keepdim=True) + y

    assert operators(apply(formula(function), [IMAGE], decompose, cancel_permutes)).count("permute") == 1


def test_an_operand_of_single_elements_is_reshaped(apply, operators, formula) -> None:
    graph = apply(
        formula(lambda x, y: to_first(to_last(x) * y)), [IMAGE, torch.randn(2, 1, 1, 3)], decompose, cancel_permutes
    )
    assert sorted(operators(graph)) == ["mul", "reshape"]


def test_a_permuted_and_a_plain_operand_stay(apply, operators, formula) -> None:
    graph = apply(formula(lambda x, y: to_last(x) + y), [IMAGE, torch.randn(2, 5, 7, 3)], decompose, cancel_permutes)
    assert operators(graph) == ["permute", "add"]


def test_a_bias_meets_its_convolution(apply, operators) -> None:
    """conv2d, squeeze and a bias behind it: a one-dimensional convolution as exporters write it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bias = nn.Conv2d(3, 4, (3, 1), bias=False), nn.Parameter(torch.randn(4, 1))

        def forward(self, x: Tensor) -> Tensor:
            return (self.conv(x).squeeze(3) + self.bias).relu()

    graph = apply(Net(), [torch.randn(2, 3, 9, 1)], decompose, cancel_permutes)
    assert operators(graph) == ["conv2d", "reshape", "add", "relu", "reshape"]


def test_reshapes_pass_a_linear_layer(apply, operators) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(7, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.reshape(30, 7)).reshape(2, 3, 5, 5)

    assert operators(apply(Net(), [IMAGE], decompose, cancel_permutes)) == ["linear"]
