"""Writes in place, rewritten."""

import pytest
import torch
from torch import nn

from prunus.frontend import import_model
from prunus.passes import check
from prunus.passes.graph import aten, calls


class ReluInPlace(nn.Module):
    """Overwrites a value that is read again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        z = y.relu_()
        return y + z


class SliceInPlace(nn.Module):
    """Writes through a view: only PyTorch's own functionalisation gets this right."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x).clone()
        y[:, :3] += 1
        y[:, 2] = 0
        return y


class Normalized(nn.Module):
    """In-place activations behind batch norm, as most networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm1d(6), nn.Hardswish(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(x)).add_(1).mul_(0.5)


@pytest.mark.parametrize("build", [ReluInPlace, SliceInPlace, Normalized])
def test_equals_pytorch(build: type[nn.Module]) -> None:
    module, x = build().eval(), torch.randn(4, 6)
    graph = import_model(module, example_inputs=(x,))
    check(graph)
    with torch.no_grad():
        torch.testing.assert_close(graph(x)[0], module(x))


def test_the_program_given_stays_as_it_is() -> None:
    program = torch.export.export(Normalized().eval(), (torch.randn(4, 6),))
    before = str(program.graph)
    import_model(program)
    assert str(program.graph) == before


@pytest.mark.parametrize("build", [SliceInPlace, Normalized])
def test_batch_norm_can_still_be_trained(build: type[nn.Module]) -> None:
    graph = import_model(build(), example_inputs=(torch.randn(4, 6),))
    assert len(list(calls(graph, aten.batch_norm.default))) == 1
