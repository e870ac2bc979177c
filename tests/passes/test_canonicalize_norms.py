"""Layer norm, RMS norm, means and softmax as exporters write them out become one call."""

import io
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.frontend.importer import import_model
from prunus.passes import (
    CANONICAL,
    canonicalize_norms,
    canonicalize_reductions,
    decompose,
    merge_duplicates,
    run_passes,
)

X = torch.randn(2, 3, 7)
CHAIN = (decompose, merge_duplicates, canonicalize_reductions, canonicalize_norms)


def layer_norm(x: Tensor) -> Tensor:
    d = x - x.mean(-1, keepdim=True)
    return d / torch.sqrt((d**2).mean(-1, keepdim=True) + 1e-5)


def with_variance(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-6)


def over_two(x: Tensor) -> Tensor:
    d = x - x.mean((1, 2), keepdim=True)
    return d * torch.rsqrt((d * d).mean((1, 2), keepdim=True) + 1e-5)


def rms_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize(
    ("function", "name"),
    [(layer_norm, "layer_norm"), (with_variance, "layer_norm"), (over_two, "layer_norm"), (rms_norm, "rms_norm")],
)
def test_formula(apply, operators, formula, function: Callable[[Tensor], Tensor], name: str) -> None:
    assert operators(apply(formula(function), [X], *CHAIN)) == [name]


def test_scale_and_shift(apply, operators, formula) -> None:
    gamma, beta = torch.rand(7), torch.rand(7)
    graph = apply(formula(lambda x, g, b: layer_norm(x) * g + b, g=gamma, b=beta), [X], *CHAIN)
    assert operators(graph) == ["layer_norm"]
    assert sorted(dict(graph.named_parameters())) == ["b", "g"]
    graph = apply(formula(lambda x, g: g * rms_norm(x), g=gamma), [X], *CHAIN)
    assert operators(graph) == ["rms_norm"]


@pytest.mark.parametrize(
    "function",
    [lambda x, g: layer_norm(x) * g[:3, None], lambda x, g: layer_norm(x) * g[0], lambda x, g: layer_norm(x)],
)
def test_scale_of_another_shape_stays(apply, operators, formula, function: Callable[..., Tensor]) -> None:
    graph = apply(formula(function, g=torch.rand(7)), [X], *CHAIN)
    assert "layer_norm" in operators(graph)


def test_first_dimensions_stay(apply, operators, formula, reasons) -> None:
    def over_channels(x: Tensor) -> Tensor:
        d = x - x.mean(1, keepdim=True)
        return d / torch.sqrt((d**2).mean(1, keepdim=True) + 1e-5)

    graph = apply(formula(over_channels), [X], *CHAIN)
    assert "layer_norm" not in operators(graph)
    assert "layer norm the last ones" in reasons(graph)


def test_values_that_others_read_stay(apply, operators, formula, reasons) -> None:
    def leak(x: Tensor) -> tuple[Tensor, Tensor]:
        d = x - x.mean(-1, keepdim=True)
        return d / torch.sqrt((d**2).mean(-1, keepdim=True) + 1e-5), d

    graph = apply(formula(leak), [X], *CHAIN)
    assert "layer_norm" not in operators(graph)
    assert "'output' reads a value on its way" in reasons(graph)


@pytest.mark.parametrize("opset", [13, 17])
def test_onnx_export(operators, opset: int) -> None:
    torch.manual_seed(0)
    module, file = nn.Sequential(nn.Linear(7, 5), nn.LayerNorm(5)).eval(), io.BytesIO()
    torch.onnx.export(module, (X,), file, opset_version=opset, dynamo=False)  # type: ignore[arg-type]
    graph = run_passes(import_model(file.getvalue()), CANONICAL)
    assert operators(graph) == ["linear", "layer_norm"]
    torch.testing.assert_close(graph(X)[0], module(X), atol=1e-5, rtol=1e-5)


def softmax(x: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def softmax_without_keepdim(x: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1).unsqueeze(-1))
    return e / e.sum(-1).unsqueeze(-1)


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (softmax, ["softmax"]),
        (softmax_without_keepdim, ["softmax"]),
        (lambda x: x.sum(-1) * (1 / 7), ["mean"]),
        (lambda x: x.sum((0, 1)) / 6, ["mean"]),
        (lambda x: x.sum(-1) / 6, ["sum", "div"]),
        (lambda x: x.mean(-1).unsqueeze(-1), ["mean"]),
        (lambda x: x.mean(-1, keepdim=True).squeeze(-1), ["mean"]),
        (lambda x: F.softmax(x, 1), ["softmax"]),
    ],
)
def test_reductions(apply, operators, formula, function: Callable[[Tensor], Tensor], left: list[str]) -> None:
    assert operators(apply(formula(function), [X], *CHAIN)) == left


def test_sums_of_powers_that_others_read_stay(apply, formula, reasons) -> None:
    def leak(x: Tensor) -> tuple[Tensor, Tensor]:
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / e.sum(-1, keepdim=True), e

    assert "it is softmax" in reasons(apply(formula(leak), [X], decompose, canonicalize_reductions))
