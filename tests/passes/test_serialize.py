"""Graphs as files, without the code of the model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prunus.compression import Prune
from prunus.errors import ImportModelError, OutputError
from prunus.frontend import import_model
from prunus.passes.numbers import run
from prunus.passes.prune import prune
from prunus.passes.serialize import load_graph, save_graph
from tests.networks import FAMILIES


@pytest.mark.parametrize("name", ["mobilenet-v3", "swin", "text-masked", "lstm-bidirectional", "unet"])
def test_pruned_graph_comes_back(name: str, tmp_path: Path) -> None:
    module, inputs = FAMILIES[name]()
    graph = prune(import_model(module, example_inputs=inputs), Prune(macs=0.7, importance="l1"))
    loaded = load_graph(save_graph(graph, tmp_path / "net.safetensors"))
    for one, other in zip(run(graph, inputs), run(loaded, inputs), strict=True):
        torch.testing.assert_close(one, other)
    assert [node.name for node in loaded.graph.nodes] == [node.name for node in graph.graph.nodes]
    assert {name for name, _ in loaded.named_parameters()} == {name for name, _ in graph.named_parameters()}
    loaded(*inputs)[0].sum().backward()
    assert any(parameter.grad is not None for parameter in loaded.parameters())
    assert list(tmp_path.iterdir()) == [tmp_path / "net.safetensors"]


def test_numbers_in_arguments_are_exact(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 0.1 + 1 / 3).clamp(-float("inf"), 0.7).to(torch.float64)

    graph = import_model(Net(), example_inputs=(torch.randn(3),))
    loaded = load_graph(save_graph(graph, tmp_path / "net.safetensors"))
    x = torch.randn(3)
    assert torch.equal(run(graph, [x])[0], run(loaded, [x])[0])


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(7, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(self.words(x), self.words.weight)

    graph = import_model(Net(), example_inputs=(torch.tensor([1, 2]),))
    assert len(list(load_graph(save_graph(graph, tmp_path / "net.safetensors")).parameters())) == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("weights.safetensors", "text.safetensors", "missing.safetensors"):
        with pytest.raises(ImportModelError, match="does not load as a graph"):
            load_graph(tmp_path / name)


def test_operators_outside_the_graph_are_refused(tmp_path: Path) -> None:
    graph = import_model(torch.nn.ReLU(), example_inputs=(torch.zeros(2),))
    path = save_graph(graph, tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes().replace(b"aten.relu.default", b"prim.device.defau"))
    with pytest.raises(ImportModelError, match="no operator of aten or prunus"):
        load_graph(path)


def test_folder_that_is_missing(tmp_path: Path) -> None:
    graph = import_model(torch.nn.ReLU(), example_inputs=(torch.zeros(2),))
    with pytest.raises(OutputError, match="cannot be written"):
        save_graph(graph, tmp_path / "missing" / "net.safetensors")
