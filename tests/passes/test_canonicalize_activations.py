"""Activations that exporters and people write as formulas become one call."""

import io
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunus.frontend.importer import import_model
from prunus.passes import CANONICAL, canonicalize_activations, decompose, remove_identities, run_passes
from prunus.passes.graph import calls

X = torch.randn(3, 7) * 4

FORMULAS: dict[str, list[Callable[[Tensor], Tensor]]] = {
    "sigmoid": [lambda x: 1 / (1 + torch.exp(-x)), lambda x: ((-1 * x).exp() + 1).reciprocal()],
    "hardsigmoid": [
        lambda x: F.relu6(x + 3) / 6,
        lambda x: (x + 3).clamp(0, 6) * (1 / 6),
        lambda x: (x / 6 + 0.5).clamp(0, 1),
        lambda x: torch.minimum(torch.maximum(3 + x, torch.tensor(0.0)), torch.tensor(6.0)) / 6,
    ],
    "hardswish": [
        lambda x: x * F.relu6(x + 3) / 6,
        lambda x: x * (F.relu6(x + 3) / 6),
        lambda x: F.hardsigmoid(x) * x,
        lambda x: x * (x * (1 / 6) + 0.5).clamp(0, 1),
    ],
    "silu": [lambda x: x * x.sigmoid(), lambda x: x.sigmoid() * x, lambda x: x / (1 + (-x).exp())],
    "softplus": [lambda x: (1 + x.exp()).log(), lambda x: x.exp().log1p()],
    "mish": [lambda x: x * F.softplus(x).tanh(), lambda x: x * (x.exp() + 1).log().tanh()],
    "gelu": [
        lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
        lambda x: x * ((torch.erf(x * 0.70710678118) + 1) * 0.5),
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3)))),
        lambda x: x * 0.5 * (1 + torch.tanh(0.7978845608 * x * (1 + 0.044715 * x * x))),
    ],
    "leaky_relu": [lambda x: torch.maximum(x, 0.1 * x), lambda x: torch.where(x > 0, x, 0.3 * x)],
    "clamp": [
        lambda x: x.clamp(min=-1).clamp(max=2),
        lambda x: x.relu().clamp(max=6),
        lambda x: x.clamp(max=6).relu(),
        lambda x: torch.minimum(x, torch.tensor(2.0)),
    ],
    "relu": [lambda x: torch.maximum(x, torch.tensor(0.0)), lambda x: x.clamp(min=-1).relu()],
}
CASES = [
    pytest.param(name, function, id=f"{name}-{i}") for name, all_ in FORMULAS.items() for i, function in enumerate(all_)
]


@pytest.mark.parametrize(("name", "function"), CASES)
def test_formula(apply, operators, formula, name: str, function: Callable[[Tensor], Tensor]) -> None:
    chain = (decompose, canonicalize_activations, remove_identities)  # PyTorch writes 1 / x as reciprocal(x) * 1
    graph = apply(formula(lambda x: function(x.sin())), [X], *chain)
    assert operators(graph) == ["sin", name]


@pytest.mark.parametrize(
    "layer", [nn.Hardswish, nn.Hardsigmoid, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.ReLU6, nn.LeakyReLU, nn.ELU]
)
@pytest.mark.parametrize("opset", [13, 18])
def test_onnx_export(layer: Callable[[], nn.Module], opset: int) -> None:
    module, file = nn.Sequential(nn.Linear(7, 5), layer()).eval(), io.BytesIO()
    torch.onnx.export(module, (X,), file, opset_version=opset, dynamo=False)  # type: ignore[arg-type]
    graph = run_passes(import_model(file.getvalue()), CANONICAL)
    assert len(list(calls(graph))) == 2, "a linear layer and one activation"
    torch.testing.assert_close(graph(X)[0], module(X), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: F.relu6(x + 2) / 6,
        lambda x: x * F.relu6(x + 3) / 5,
        lambda x: x.clamp(0, 5) + x,
        lambda x: torch.maximum(x, 1.5 * x),
        lambda x: x.clamp(min=3).clamp(max=2),
    ],
)
def test_look_alikes_stay(apply, operators, formula, function: Callable[[Tensor], Tensor]) -> None:
    assert len(operators(apply(formula(function), [X], decompose, canonicalize_activations))) > 1


def test_values_that_others_read_stay(apply, operators, formula, reasons) -> None:
    def leak(x: Tensor) -> tuple[Tensor, Tensor]:
        gate = x.sigmoid()
        return x * gate, gate

    graph = apply(formula(leak), [X], canonicalize_activations)
    assert operators(graph) == ["sigmoid", "mul"]
    assert "it is SiLU, but 'output' reads a value on its way" in reasons(graph)
