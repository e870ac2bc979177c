"""Formulas match however they are bracketed and ordered, and nothing else does."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from prunus.frontend.torch import import_torch
from prunus.passes.decompose import decompose
from prunus.passes.graph import aten, outputs
from prunus.passes.match import Inverse, Match, Pattern, Variable, call, match, product, reads_of_inner, total

x, y = Variable("x"), Variable("y")


@pytest.fixture
def find(formula) -> Callable[..., Match | None]:
    """Match a pattern with what a function of two tensors computes."""

    def run(function: Callable[[Tensor, Tensor], Tensor], pattern: Pattern) -> Match | None:
        graph = decompose(import_torch(formula(function), (torch.randn(3), torch.randn(3))))
        return match(graph, pattern, outputs(graph)[0])

    return run


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: 2 * (a * a.exp()),
        lambda a, b: (2 * a) * a.exp(),
        lambda a, b: a.exp() * a / 0.5,
        lambda a, b: a * (a.exp() * 2),
        lambda a, b: -(a.exp() * a * -2),
    ],
)
def test_products(find, function) -> None:
    found = find(function, product(2, x, call(aten.exp.default, x)))
    assert found is not None
    assert found.bindings["x"].name == "inputs_0"


@pytest.mark.parametrize("function", [lambda a, b: a + 1 - b, lambda a, b: 1 - b + a, lambda a, b: (a - 2) - (b - 3)])
def test_sums(find, function) -> None:
    assert find(function, total(1, x, Inverse(y)))


def test_quotients(find) -> None:
    assert find(lambda a, b: a / (1 + b), product(1, x, Inverse(total(1, y))))
    assert find(lambda a, b: a * (1 + b).reciprocal(), product(1, x, Inverse(total(1, y))))
    assert not find(lambda a, b: (1 + b) / a, product(1, x, Inverse(total(1, y))))


def test_numbers_are_compared_and_kept(find) -> None:
    assert not find(lambda a, b: a * 0.5001, product(0.5, x))
    found = find(lambda a, b: a * 0.3 + 0.25, total("shift", product("scale", x)))
    assert found is not None
    assert found.bindings["shift"] == 0.25
    assert found.bindings["scale"] == pytest.approx(0.3)


def test_a_variable_is_one_node(find) -> None:
    assert find(lambda a, b: a * a.exp(), product(1, x, call(aten.exp.default, x)))
    assert not find(lambda a, b: a * b.exp(), product(1, x, call(aten.exp.default, x)))


def test_numbers_and_names_of_calls(find) -> None:
    assert find(lambda a, b: a.clamp(0, 6), call(aten.clamp.default, x, numbers=(0, 6)))
    assert not find(lambda a, b: a.clamp(0, 5), call(aten.clamp.default, x, numbers=(0, 6)))
    found = find(lambda a, b: a.mean(0, keepdim=True), call(aten.mean.dim, x, keep=("dim", "keepdim")))
    assert found is not None
    assert (found.bindings["dim"], found.bindings["keepdim"]) == ([0], True)


def test_a_product_may_itself_be_a_factor(find) -> None:
    found = find(lambda a, b: (a * b) * 0.5, product(0.5, x))
    assert found is not None
    assert found.bindings["x"].target is aten.mul.Tensor


def test_readers_of_values_on_the_way(formula) -> None:
    graph = import_torch(formula(lambda a: (a.exp() * a, a.exp().sin())), (torch.randn(3),))
    end = outputs(graph)[0]
    found = match(graph, product(1, x, call(aten.exp.default, x)), end)
    assert found is not None
    assert not reads_of_inner(found, end)
