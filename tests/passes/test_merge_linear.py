"""Products with constant matrices become linear layers."""

import torch
from torch import Tensor

from prunus.passes import decompose, fold_constants, merge_linear, show

X = torch.randn(2, 3, 7)


def test_product_and_bias(apply, formula) -> None:
    graph = apply(
        formula(lambda x, w, b: x @ w + b, w=torch.randn(7, 5), b=torch.randn(5)), [X], merge_linear, fold_constants
    )
    assert show(graph) == (
        "inputs_0: float32[2, 3, 7] = input\n"
        "add: float32[2, 3, 5] = aten.linear(inputs_0, %matmul_permute, %b)\n"
        "return add\n"
    )


def test_a_turned_weight_is_used_as_it_is(apply, operators, formula) -> None:
    graph = apply(formula(lambda x, w: x @ w.t(), w=torch.randn(5, 7)), [X], decompose, merge_linear)
    assert operators(graph) == ["linear"]
    assert list(dict(graph.named_parameters())) == ["w"]


def test_addmm(apply, operators, formula) -> None:
    graph = apply(
        formula(lambda x, w, b: torch.addmm(b, x, w), w=torch.randn(7, 5), b=torch.randn(5)),
        [X[0]],
        decompose,
        merge_linear,
        fold_constants,
    )
    assert operators(graph) == ["linear"]


def test_a_batch_of_matrices_stays(apply, operators, formula, reasons) -> None:
    graph = apply(formula(lambda x, w: x @ w, w=torch.randn(2, 7, 5)), [X], merge_linear)
    assert operators(graph) == ["matmul"]
    assert "has 3 dimensions" in reasons(graph)


def test_a_second_bias_and_a_shared_product_stay(apply, operators, formula, reasons) -> None:
    def twice(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, w, b) + b

    graph = apply(formula(twice, w=torch.randn(5, 7), b=torch.randn(5)), [X], merge_linear)
    assert operators(graph) == ["linear", "add"]
    assert "has a bias already" in reasons(graph)

    def shared(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y = x @ w
        return (y + b) * y

    graph = apply(formula(shared, w=torch.randn(7, 5), b=torch.randn(5)), [X], merge_linear)
    assert "read elsewhere" in reasons(graph)


def test_what_is_no_bias_stays(apply, operators, formula) -> None:
    graph = apply(formula(lambda x, w, b: x @ w + b, w=torch.randn(7, 5), b=torch.randn(3, 1)), [X], merge_linear)
    assert operators(graph)[-2:] == ["linear", "add"]
