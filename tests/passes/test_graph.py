"""Shapes of values, worked out anew."""

import pytest
import torch
from torch import nn

from prunus.frontend import import_model
from prunus.passes.graph import Graph, aten, calls, propagate_shapes, set_constant, shape


def network() -> Graph:
    module = nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7)).eval()
    return import_model(module, example_inputs=(torch.randn(2, 3, 9, 9),))


def test_batch_norm_has_the_shape_of_its_input() -> None:
    graph = network()
    (norm,) = calls(graph, aten.batch_norm.default)
    norm.meta["val"] = None
    propagate_shapes(graph)
    assert shape(norm) == (2, 7, 7, 7)


@pytest.mark.parametrize("name", ["1.weight", "1.bias", "1.running_mean", "1.running_var"])
def test_batch_norm_with_parameters_of_another_size(name: str) -> None:
    graph = network()
    set_constant(graph, name, graph.state_dict()[name][:5].clone())
    with pytest.raises(ValueError, match="batch norm"):
        propagate_shapes(graph)
