"""Int8 weights beside float32 activations."""

import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.quantize import quantize_embeddings, quantize_linear_weights


def test_embedding_rows(operators) -> None:
    torch.manual_seed(0)
    module = nn.Embedding(300, 7)
    with torch.no_grad():
        module.weight[::2] *= 50
        module.weight[5] = 0
    ids = torch.arange(300).reshape(3, 100)
    graph = run_passes(import_torch(module.eval(), (ids,)), [*DEFAULT, quantize_embeddings_within_a_percent], (ids,))
    assert operators(graph) == ["embedding", "_to_copy", "embedding", "mul"]
    error = (graph(ids)[0] - module(ids)).abs().amax(2)
    assert bool((error <= module(ids).abs().amax(2) / 127).all())
    assert sum(buffer.numel() * buffer.element_size() for buffer in graph.buffers()) == 300 * 7 + 300 * 4


def quantize_embeddings_within_a_percent(graph: Graph) -> Graph:
    return quantize_embeddings(graph)


quantize_embeddings_within_a_percent.max_error = 0.01  # type: ignore[attr-defined]


def test_small_tables_stay(operators) -> None:
    ids = torch.tensor([1, 2])
    graph = quantize_embeddings(import_torch(nn.Embedding(10, 3), (ids,)))
    assert operators(graph) == ["embedding"]


def test_linear_weights(operators) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(60, 33), torch.randn(5, 60)
    graph = quantize_linear_weights(run_passes(import_torch(module, (x,)), DEFAULT, (x,)))
    assert operators(graph) == ["linear_int8"]
    with torch.no_grad():
        assert float((graph(x)[0] - module(x)).abs().max()) < 0.02
