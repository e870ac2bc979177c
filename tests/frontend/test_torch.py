"""Modules, exported programs and FX graphs as graphs."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from prunus.errors import DynamicShape, ImportModelError, MissingInputs
from prunus.frontend import import_model
from prunus.passes import check
from prunus.passes.graph import Graph, aten, calls, inputs, shape


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())


X = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def same(graph: Graph, module: nn.Module, *tensors: torch.Tensor) -> None:
    check(graph)
    with torch.no_grad():
        torch.testing.assert_close(graph(*tensors)[0], module.eval()(*tensors))


def test_module_keeps_names_modes_and_weights() -> None:
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    graph = import_model(module, example_inputs=(X,))
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert {name for name, _ in graph.named_parameters()} == {name for name, _ in module.named_parameters()}
    with torch.no_grad():
        graph.get_parameter("0.weight").zero_()
    assert torch.equal(module[0].weight, before["0.weight"])


def test_batch_norm_and_dropout_stay() -> None:
    graph = import_model(network(), example_inputs=(X,))
    assert len(list(calls(graph, aten.batch_norm.default, aten.dropout.default))) == 2


@pytest.mark.parametrize("form", ["module", "exported", "pt2", "fx"])
def test_forms(form: str, tmp_path: Path) -> None:
    module = network().eval()
    if form == "module":
        graph = import_model(module, example_inputs=[X.numpy()])
    elif form == "fx":
        graph = import_model(torch.fx.symbolic_trace(module), example_inputs=(X,))
    else:
        program = torch.export.export(module, (X,))
        if form == "pt2":
            torch.export.save(program, tmp_path / "net.pt2")
        graph = import_model(tmp_path / "net.pt2" if form == "pt2" else program)
    same(graph, module, X)


def test_symbolic_dimensions_are_fixed_or_named() -> None:
    module = network().eval()
    batch = torch.export.Dim("batch", max=8)
    program = torch.export.export(module, (X.repeat(2, 1, 1, 1),), dynamic_shapes=({0: batch},))
    with pytest.raises(DynamicShape, match=r"input \(.*, 3, 9, 9\)") as caught:
        import_model(program)
    assert "input_shapes" in caught.value.do
    graph = import_model(program, input_shapes={"input": (4, 3, 9, 9)})
    assert shape(inputs(graph)[0]) == (4, 3, 9, 9)
    same(import_model(program, example_inputs=(X,)), module, X)


class Named(nn.Module):
    """Takes a keyword, returns a dictionary, and shares a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"once": self.first(x) * scale, "twice": self.second(self.first(x))}


def test_keywords_names_and_shared_weights() -> None:
    x, scale = torch.randn(2, 5), torch.randn(5)
    graph = import_model(Named(), example_inputs=(x,), example_kwargs={"scale": scale})
    assert [str(node.target) for node in inputs(graph)] == ["x", "scale"]
    assert graph.meta["output_names"] == ["once", "twice"]
    weights = [parameter for name, parameter in graph.named_parameters(remove_duplicate=False) if "weight" in name]
    assert len({id(weight) for weight in weights}) == 1


class Labelled(nn.Module):
    """Returns a mapping that is no dictionary, as models for segmentation do."""

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        return OrderedDict(out=x + 1, aux=x - 1)


def test_outputs_are_named_by_any_mapping() -> None:
    assert import_model(Labelled(), example_inputs=(X,)).meta["output_names"] == ["out", "aux"]


class Branches(nn.Module):
    """Asks for a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Scribbles(nn.Module):
    """Writes into its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return functional.relu(x)


def test_refusals() -> None:
    with pytest.raises(MissingInputs, match="example_inputs"):
        import_model(network())
    with pytest.raises(ImportModelError, match="cannot follow Branches"):
        import_model(Branches(), example_inputs=(X,))
    with pytest.raises(ImportModelError, match="writes into its own inputs"):
        import_model(Scribbles(), example_inputs=(X.clone(),))
    with pytest.raises(ImportModelError, match="no model that Prunus reads"):
        import_model({"weights": 1})


def test_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    with pytest.raises(ImportModelError, match="does not load"):
        import_model(tmp_path / "broken.pt2")


def test_weights_that_are_no_numbers() -> None:
    module = network()
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ImportModelError, match=r"0\.weight \(1 of 189\)"):
        import_model(module, example_inputs=(X,))


class Counted(nn.Module):
    """Holds a number that is a parameter, as modules of other libraries do, for the sake of their state."""

    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Parameter(torch.tensor([2, 3, 5]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.count


def test_parameters_that_are_integers() -> None:
    graph = import_model(Counted(), example_inputs=(torch.ones(2, 3),))
    assert graph(torch.ones(2, 3))[0].tolist() == [[2, 3, 5]] * 2
