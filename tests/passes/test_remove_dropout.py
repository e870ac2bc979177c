"""Dropout goes in evaluation mode and stays in training mode."""

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import remove_dropout, run_passes, show
from prunus.passes.graph import calls


@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_evaluation_mode(apply, operators, layer) -> None:
    graph = apply(nn.Sequential(nn.Conv1d(5, 3, 1), layer(0.3), nn.ReLU()), [torch.randn(2, 5, 7)], remove_dropout)
    assert operators(graph) == ["conv1d", "relu"]


def test_readable(apply) -> None:
    graph = apply(nn.Sequential(nn.ReLU(), nn.Dropout(0.1)), [torch.randn(1, 3)], remove_dropout)
    assert show(graph) == "input_1: float32[1, 3] = input\nrelu: float32[1, 3] = aten.relu(input_1)\nreturn relu\n"


def test_training_mode_stays() -> None:
    graph = import_torch(nn.Dropout(0.3), (torch.randn(3),))
    (node,) = calls(graph)
    node.args = (*node.args[:2], True)
    graph.recompile()
    torch.manual_seed(0)
    after = remove_dropout(graph)
    assert len(list(calls(after))) == 1


def test_reason(reasons) -> None:
    graph = import_torch(nn.Sequential(nn.Dropout(1.0)), (torch.randn(3),))
    (node,) = calls(graph)
    node.args = (*node.args[:2], True)  # drops everything: deterministic
    assert "training mode" in reasons(run_passes(graph, [remove_dropout]))
