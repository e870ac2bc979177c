"""Weights in words, and which of them the fast instructions take."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import prunus.passes.operators.quantized  # noqa: F401  registers the operators
from prunus.backends.kernels import integer_dot
from prunus.backends.kernels.integer_weights import convolution_words, depthwise_words, linear_words, suit
from prunus.backends.plan.planner import plan
from prunus.compression import Quantize
from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, run_passes
from prunus.passes.quantize import quantize
from prunus.targets import load_target


def numbered(*shape: int) -> torch.Tensor:
    return (torch.arange(torch.Size(shape).numel()) % 97 + 1).reshape(shape).to(torch.int8)


@pytest.mark.parametrize("inputs", [1, 3, 4, 5, 11])
def test_words_hold_every_weight_once(inputs: int) -> None:
    weight = numbered(3, inputs)
    words = linear_words(weight)
    assert words.shape == (-(-inputs // 4), 3, 4)
    for output in range(3):
        assert sorted(words[:, output][words[:, output] != 0]) == sorted(weight[output].tolist())


def test_a_folded_kernel_row_is_one_run() -> None:
    weight = numbered(2, 3, 2, 3)
    words = convolution_words(weight, 1, folded=True)
    assert words.shape == (1, 2, 1, 3, 2, 4)
    assert words[0, 1, 0, 0, 1].tolist() == [
        weight[1, 0, 1, 0],
        weight[1, 1, 1, 0],
        weight[1, 2, 1, 0],
        weight[1, 0, 1, 1],
    ]
    assert convolution_words(weight, 1, folded=False).shape == (1, 2, 3, 1, 2, 4)


def test_four_kernel_rows_are_a_word() -> None:
    weight = numbered(5, 1, 5, 2)
    words = depthwise_words(weight)
    assert words.shape == (4, 5, 4)
    assert words[0, 2].tolist() == weight[2, 0, :4, 0].tolist()
    assert words[3, 2].tolist() == [weight[2, 0, 4, 1], 0, 0, 0]


@pytest.mark.parametrize("name", ["unsigned bytes", "smull"])
@pytest.mark.parametrize("terms", [1, 2, 4, 8])
def test_weights_are_taken_whose_products_never_leave_int16(name: str, terms: int) -> None:
    """Against the extreme inputs of the products that meet."""
    dot = integer_dot.by_name(name)
    random = np.random.default_rng(terms)
    divisors = np.arange(40).reshape(1, 1, 40, 1) // 2 + 1
    weights = (random.integers(-127, 128, (3, 8, 40, 4)) // divisors).astype(np.int8)
    meeting = ((0, 1), (2, 3)) if dot.flips else ((0, 2), (1, 3))
    grouped = weights.astype(np.int64).reshape(3, 8 // terms, terms, 40, 4)
    products = np.stack([grouped * bound for bound in ((0, 255) if dot.flips else (-128, 127))])
    largest = np.zeros(40, np.int64)
    for pair in meeting:
        for ends in (products.max(axis=0), -products.min(axis=0)):
            largest = np.maximum(largest, ends[..., list(pair)].sum(axis=(2, 4)).max(axis=(0, 1)))
    taken = dot.take(weights, terms)
    assert taken.tolist() == (largest < 2**15).tolist()
    assert taken.any()


@pytest.mark.parametrize(("target", "expected"), [("x86-64-v3", False), ("x86-64-vnni", True), ("rpi5", True)])
def test_large_weights_suit_dot_products_only(target: str, expected: bool) -> None:
    assert bool(suit(torch.full((2, 8), 127, dtype=torch.int8), 1, load_target(target)).all()) is expected
    assert bool(suit(torch.full((2, 8), 32, dtype=torch.int8), 1, load_target(target)).all())
    lone = torch.zeros((3, 1, 3, 3), dtype=torch.int8)
    lone[:, :, 1] = 127
    assert bool(suit(lone, 3, load_target(target)).all())


@pytest.mark.parametrize(
    ("shape", "groups"), [((6, 9), 1), ((6, 5, 1, 1), 1), ((6, 3, 3, 3), 1), ((6, 5, 3, 3), 2), ((6, 1, 3, 3), 6)]
)
def test_whether_weights_suit_is_a_matter_of_each_output(shape: tuple[int, ...], groups: int) -> None:
    generator, target = torch.Generator().manual_seed(0), load_target("x86-64-v3")
    largest = torch.tensor([8, 32, 127, 127, 16, 120]).reshape(-1, *[1] * (len(shape) - 1))
    weight = (torch.rand(shape, generator=generator) * largest).to(torch.int8)
    whole, some = suit(weight, groups, target), torch.tensor([3, 0, 4])
    assert whole.any()
    assert not whole.all()
    assert torch.equal(suit(weight[some], groups, target), whole[some])


def test_quantised_layers_take_the_fast_path_without_dot_products() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.ReLU(),
        nn.Conv2d(24, 16, 3, groups=2), nn.Flatten(), nn.Linear(576, 10),
    ).eval()  # fmt: skip
    x = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    graph = run_passes(import_torch(module, (x[:1],)), DEFAULT, (x[:1],))
    whole = quantize(graph, Quantize(calibration=[x], where="everywhere"), target="x86-64-v3")
    steps = plan(whole, name="net", target=load_target("x86-64-v3")).steps
    problems: list[Any] = [step.kernel.problem for step in steps if hasattr(step.kernel.problem, "dot")]
    assert [problem.dot for problem in problems] == ["unsigned bytes"] * 5
    least = (2, 1, 2, 2, 2)
    assert all(problem.terms >= terms for problem, terms in zip(problems, least, strict=True))
