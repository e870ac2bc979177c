"""Parts of a forward that run in a mode of their own."""

import pytest
import torch
from torch import nn

from prunus.errors import GraphError, ImportModelError
from prunus.frontend import import_model
from prunus.passes import check
from prunus.passes.graph import aten, calls

X = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))


class Modes(nn.Module):
    """Switches gradients and autocast off, one inside the other, and writes in place there."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            first, second = (x * 2).split(3, dim=1)
            with torch.autocast("cpu", enabled=False):
                scale = (first.float() + 1).sigmoid_()
        y = self.drop(self.norm(self.linear(x)))
        return torch.cat([y[:, :3] * scale, second], dim=1), scale


class Casts(nn.Module):
    """Multiplies in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.linear(x)
        return y.float()


class Decides(nn.Module):
    """Adds or subtracts."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


def test_parts_are_written_out() -> None:
    module = Modes().eval()
    graph = import_model(module, example_inputs=(X,))
    check(graph)
    assert len(list(calls(graph, aten.batch_norm.default, aten.dropout.default))) == 2
    with torch.no_grad():
        for found, expected in zip(graph(X), module(X), strict=True):
            torch.testing.assert_close(found, expected)


def test_autocast_is_not_forgotten() -> None:
    with pytest.raises(GraphError, match="bfloat16"):
        check(import_model(Casts(), example_inputs=(X,)))


def test_decisions_are_refused() -> None:
    with pytest.raises(ImportModelError, match=r"higher_order\.cond, which runs parts"):
        import_model(Decides(), example_inputs=(X,))
