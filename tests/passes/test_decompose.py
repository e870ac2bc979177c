"""Every operator is rewritten in terms of those that stay, with the same numbers."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import decompose, left_over, run_passes
from prunus.passes.graph import aten, calls
from tests.passes.cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(apply, formula, case: Case) -> None:
    graph = apply(formula(case.function, **case.parameters), case.inputs, decompose)
    assert not left_over(graph)
    assert {str(node.target).split(".")[1] for node in calls(graph)} <= case.becomes


def test_views_have_one_spelling(apply, formula) -> None:
    def views(x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(1).squeeze(1).transpose(0, 1).flatten(1).view(3, 2, -1).mT
        return x.narrow(0, 1, 2)[-1].expand(4, -1, -1)

    graph = apply(formula(views), [torch.randn(2, 3, 5)], decompose)
    spelled = {node.target for node in calls(graph)}
    assert spelled <= {
        aten.reshape.default,
        aten.permute.default,
        aten.slice.Tensor,
        aten.select.int,
        aten.expand.default,
    }


def test_a_replaced_node_keeps_its_name(apply, formula) -> None:
    graph = apply(formula(F.relu6), [torch.randn(5)], decompose)
    assert [node.name for node in calls(graph)] == ["relu6"]


def test_kept_is_a_choice(formula) -> None:
    graph = import_torch(formula(F.silu), (torch.randn(5),))
    kept = frozenset({aten.sigmoid.default, aten.mul.Tensor})
    assert [node.target for node in calls(decompose(graph, kept=kept))] == [aten.sigmoid.default, aten.mul.Tensor]


def test_what_nothing_decomposes_stays_with_a_reason(formula, reasons) -> None:
    graph = run_passes(import_torch(formula(lambda x: x.sort()[0]), (torch.randn(5),)), [decompose])
    assert [str(node.target) for node in left_over(graph)] == ["aten.sort.default"]
    assert "no decomposition of aten.sort.default" in reasons(graph)


def test_no_graph_holds_primitives(formula, reasons) -> None:
    """What PyTorch takes apart into `prims` only stays as it was, for whoever has a kernel to say so."""
    graph = run_passes(import_torch(formula(torch.special.bessel_j0), (torch.randn(5),)), [decompose])
    assert [str(node.target) for node in left_over(graph)] == ["aten.special_bessel_j0.default"]
    assert "no decomposition of aten.special_bessel_j0.default" in reasons(graph)


def test_layers_stay_trainable() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.Dropout(0.1), nn.PReLU(4)).eval()
    graph = decompose(import_torch(module, (torch.randn(2, 3, 5, 5),)))
    assert {"conv2d", "batch_norm", "dropout"} <= {str(node.target).split(".")[1] for node in calls(graph)}
    graph(torch.randn(2, 3, 5, 5))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in graph.parameters())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_attention(apply, formula, operators, causal: bool, mask: str) -> None:
    if causal and mask != "none":
        pytest.skip("PyTorch takes one or the other")
    masks: dict[str, Callable[[], torch.Tensor | None]] = {
        "none": lambda: None,
        "bool": lambda: torch.ones(5, 7, dtype=torch.bool).tril(2),
        "float": lambda: torch.randn(2, 1, 5, 7),
    }
    given = masks[mask]()
    inputs = [torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 6)]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, rest[0] if rest else None, is_causal=causal)

    graph = apply(formula(attend), [*inputs, *([] if given is None else [given])], decompose)
    masking = {"none": ["add"] if causal else [], "bool": ["where"], "float": ["add"]}[mask]
    assert operators(graph) == ["permute", "matmul", "mul", *masking, "softmax", "matmul"]


def test_grouped_query_attention(apply, formula) -> None:
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, scale=0.3, enable_gqa=True)

    inputs = [torch.randn(1, 6, 5, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)]
    assert not left_over(apply(formula(attend), inputs, decompose))


def test_attention_in_training_mode_stays(formula, reasons) -> None:
    graph = import_torch(
        formula(lambda q: F.scaled_dot_product_attention(q, q, q, dropout_p=1.0)), (torch.ones(1, 2, 3),)
    )
    assert "training mode" in reasons(run_passes(graph, [decompose]))
