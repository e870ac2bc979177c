"""Linear layers read features in the order in which they lie."""

import torch
from torch import Tensor, nn

from prunus.passes import fold_permutes

IMAGE = torch.randn(2, 3, 5, 7)


def flatten_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1)


class Net(nn.Module):
    """Channels last, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(105, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(flatten_last(x))


def test_columns_are_permuted(apply, operators) -> None:
    graph = apply(Net(), [IMAGE], fold_permutes)
    assert operators(graph) == ["reshape", "linear"]
    assert sorted(tuple(parameter.shape) for parameter in graph.parameters()) == [(4,), (4, 105)]


def test_sequences(apply, operators, formula) -> None:
    """Each step of a sequence has features of its own."""

    def function(x: Tensor, w: Tensor) -> Tensor:
        return nn.functional.linear(x.permute(0, 1, 3, 2).reshape(2, 3, 35), w)

    assert operators(apply(formula(function, w=torch.randn(4, 35)), [IMAGE], fold_permutes)) == ["reshape", "linear"]


def test_samples_that_are_mixed_stay(apply, operators, formula, reasons) -> None:
    def function(x: Tensor, w: Tensor) -> Tensor:
        return nn.functional.linear(x.permute(1, 0, 2, 3).reshape(3, 70), w)

    graph = apply(formula(function, w=torch.randn(4, 70)), [IMAGE], fold_permutes)
    assert operators(graph) == ["permute", "reshape", "linear"]
    assert "more than one sample" in reasons(graph)


def test_weights_and_inputs_that_others_read_stay(apply, operators, formula, reasons) -> None:
    def shared(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.linear(flatten_last(x), w), w.sum(1)

    graph = apply(formula(shared, w=torch.randn(4, 105)), [IMAGE], fold_permutes)
    assert "permute" in operators(graph)
    assert "read elsewhere" in reasons(graph)

    def returned(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        flat = flatten_last(x)
        return nn.functional.linear(flat, w), flat

    assert "permute" in operators(apply(formula(returned, w=torch.randn(4, 105)), [IMAGE], fold_permutes))
