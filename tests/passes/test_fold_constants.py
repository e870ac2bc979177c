"""What does not depend on the inputs is computed once, unless that would grow the model."""

import torch
from torch import nn

from prunus.passes import decompose, fold_constants, merge_duplicates, show
from prunus.passes.graph import calls


def test_weights_are_rearranged_once(apply, operators, formula) -> None:
    graph = apply(
        formula(lambda x, w: x @ (w.t() * 2), w=torch.randn(3, 5)), [torch.randn(7, 5)], decompose, fold_constants
    )
    assert operators(graph) == ["matmul"]
    assert [type(tensor) for tensor in graph.parameters()] == [nn.Parameter]
    assert not list(graph.buffers())


def test_masks_are_made_once(apply, operators, formula) -> None:
    def masked(x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(7)
        return x.masked_fill(places[None] > places[:, None], -1.0)

    graph = apply(formula(masked), [torch.randn(2, 7, 7)], fold_constants, decompose, fold_constants)
    assert operators(graph) == ["where"]


def test_spreading_stays_a_view(apply, operators, reasons, formula) -> None:
    graph = apply(
        formula(lambda x, w: x * w.expand(64, 64, 5), w=torch.randn(64, 1, 5)), [torch.randn(64, 64, 5)], fold_constants
    )
    assert operators(graph) == ["expand", "mul"]
    assert "its 81920 bytes are made of only 1280" in reasons(graph)


def test_what_a_refused_call_reads_is_still_folded(apply, operators, formula) -> None:
    graph = apply(
        formula(lambda x, w: x * (w + 1).expand(64, 64, 5), w=torch.randn(64, 1, 5)),
        [torch.randn(64, 64, 5)],
        fold_constants,
    )
    assert operators(graph) == ["expand", "mul"]


def test_results_of_more_than_a_megabyte_stay(apply, operators, formula) -> None:
    graph = apply(
        formula(lambda x, w: x + w * w.t(), w=torch.randn(1, 600)), [torch.randn(600, 600)], decompose, fold_constants
    )
    assert operators(graph)[-2:] == ["mul", "add"]


def test_several_results(apply, operators, formula) -> None:
    graph = apply(
        formula(lambda x, w: x * w.chunk(2)[1], w=torch.randn(6)), [torch.randn(2, 3)], fold_constants, decompose
    )
    assert operators(graph) == ["mul"]


def test_outputs_may_be_constants(apply, operators, formula) -> None:
    graph = apply(formula(lambda x, w: (x + 1, w * 2), w=torch.randn(3)), [torch.randn(3)], fold_constants)
    assert operators(graph) == ["add"]


def test_random_numbers_stay_random(formula) -> None:
    graph = torch.fx.Graph()
    noise = graph.call_function(torch.ops.aten.rand.default, ([3],))
    noise.meta["val"] = torch.empty(3, device="meta")
    graph.output((noise,))
    after = fold_constants(torch.fx.GraphModule(nn.Module(), graph))
    assert len(list(calls(after))) == 1


def test_duplicates_merge(apply, formula) -> None:
    def twice(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return (x.mean(-1, keepdim=True) + w) * (x.mean(-1, keepdim=True) + w)

    graph = apply(formula(twice, w=torch.randn(5)), [torch.randn(3, 5)], merge_duplicates)
    assert show(graph) == (
        "inputs_0: float32[3, 5] = input\n"
        "mean: float32[3, 1] = aten.mean.dim(inputs_0, [-1], True)\n"
        "add: float32[3, 5] = aten.add.Tensor(mean, %w)\n"
        "mul: float32[3, 5] = aten.mul.Tensor(add, add)\n"
        "return mul\n"
    )
