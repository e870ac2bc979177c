"""From a budget to a graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunus.compression import LowRank
from prunus.errors import InputError, LowRankError
from prunus.frontend import import_model
from prunus.passes import DEFAULT, check, run_passes
from prunus.passes.export_onnx import export_onnx
from prunus.passes.graph import Graph, calls, get_constant
from prunus.passes.latency import EstimatedLatency
from prunus.passes.low_rank import LowRankPlan, low_rank
from prunus.passes.numbers import run
from prunus.passes.recovery import Batches, Distill, distill
from prunus.targets import load_target


def narrow(outputs: int, inputs: int, rank: int) -> Tensor:
    """Return a matrix of about a rank."""
    return torch.randn(outputs, rank) @ torch.randn(rank, inputs) / rank + 1e-3 * torch.randn(outputs, inputs)


class Network(nn.Module):
    """Convolutions with batch norm, and a head, whose weights are nearly of low rank."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(16, 33, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(33)
        self.depthwise = nn.Conv2d(33, 33, 3, groups=33)
        self.head = nn.Linear(33, 64)
        self.first.weight.data = narrow(33, 16 * 9, 6).reshape(33, 16, 3, 3)
        self.head.weight.data = narrow(64, 33, 5)
        self.norm.running_mean = torch.randn(33)
        self.norm.running_var = torch.rand(33) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.depthwise(torch.relu(self.norm(self.first(x)))).mean((2, 3)))
        return y


class Words(nn.Module):
    """An embedding that is read as an embedding is in text classifiers."""

    def __init__(self, dims: int = 24, words: int = 301) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(words, dims)
        self.table.weight.data = narrow(words, dims, 7)
        self.drop = nn.Dropout(0.5)
        self.convs = nn.ModuleList(nn.Conv1d(dims, 9, size, padding=size // 2) for size in (1, 3))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.drop(self.table(ids)).transpose(1, 2)
        return torch.cat([torch.relu(conv(x)).amax(2) for conv in self.convs], 1)


SAVE_BYTES = LowRank(max_error=0.02, save="bytes", multiple_of=1)


def imported(module: nn.Module, *inputs: Tensor) -> Graph:
    return import_model(module.eval(), example_inputs=inputs)


def plan_of(graph: Graph) -> LowRankPlan:
    plan = graph.meta["low_rank"]
    assert isinstance(plan, LowRankPlan)
    return plan


def count_bytes(graph: Graph) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in [*graph.parameters(), *graph.buffers()])


def test_layers_with_batch_norm_behind() -> None:
    module, samples = Network(), torch.randn(64, 16, 9, 7)
    graph = imported(module, samples[:1])
    before = {name: tensor.clone() for name, tensor in graph.state_dict().items()}
    smaller = low_rank(graph, SAVE_BYTES, calibration=[samples])
    check(smaller)
    plan = plan_of(smaller)
    rows = {row.weight: row for row in plan.rows}
    assert (rows["head.weight"].method, rows["head.weight"].ranks) == ("svd", (5,))
    assert rows["first.weight"].method in ("svd", "tucker2", "spatial_svd")
    assert rows["depthwise.weight"].why == "its 33 groups are small products already"
    assert plan.bytes_after == count_bytes(smaller) < 0.6 * plan.bytes_before == 0.6 * count_bytes(graph)
    assert plan.total_error is not None
    assert plan.total_error < 0.02
    for text in ("head.weight", "svd", "its 33 groups"):
        assert text in str(plan)
    # BatchNorm folds into the last of the factors, and the original is what it was.
    folded = run_passes(smaller, DEFAULT, (samples[:1],))
    assert "batch_norm" not in "".join(str(node.target) for node in calls(folded))
    assert all(torch.equal(before[name], tensor) for name, tensor in graph.state_dict().items())
    assert not {id(one) for one in graph.parameters()} & {id(one) for one in smaller.parameters()}


def test_factors_are_trained_and_exported(tmp_path: Path) -> None:
    samples = torch.randn(64, 16, 9, 7)
    graph = imported(Network(), samples[:1])
    smaller = low_rank(graph, LowRank(max_error=0.3, save="bytes", multiple_of=1), calibration=[samples])
    sum(output.square().sum() for output in smaller(samples[:1])).backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in smaller.parameters())
    before = plan_of(smaller).total_error
    distill(smaller, graph, Batches([samples]), Distill(steps=40, batch_size=16, learning_rate=1e-3, frozen=True))
    truth, answer = run(graph, (samples[:1],))[0], run(smaller, (samples[:1],))[0]
    assert before is not None
    assert float((truth - answer).square().mean() / truth.var()) < before
    again = import_model(export_onnx(smaller, tmp_path / "smaller.onnx"))
    torch.testing.assert_close(run(again, (samples[:1],))[0], answer, atol=1e-4, rtol=1e-4)


def test_embedding_goes_into_the_layers_behind_it() -> None:
    module, ids = Words(), torch.randint(301, (50, 11))
    graph = imported(module, ids[:1])
    smaller = low_rank(graph, SAVE_BYTES, calibration=[ids])
    (row,) = (row for row in plan_of(smaller).rows if row.method == "embedding")
    assert (row.weight, row.ranks, row.full_ranks) == ("table.weight", (7,), (24,))
    assert not list(calls(smaller, torch.ops.aten.linear.default))
    shapes = {name: tuple(parameter.shape) for name, parameter in smaller.named_parameters()}
    assert shapes["table.narrow.weight"] == (301, 7)
    assert [size[1] for name, size in shapes.items() if name.startswith("convs.1") and len(size) == 3][:1] == [7]
    torch.testing.assert_close(run(smaller, (ids[:1],))[0], module(ids[:1]), atol=0.05, rtol=0.05)
    assert plan_of(smaller).bytes_after < 0.4 * plan_of(smaller).bytes_before


def test_embedding_keeps_the_words_that_occur() -> None:
    """The counted table's best rank by numpy: rows weighted by their counts."""
    torch.manual_seed(0)
    table = nn.Embedding(37, 9)
    ids = torch.randint(0, 12, (40, 5))  # the other words never occur
    smaller = low_rank(imported(table, ids[:1]), LowRank(max_error=0.4, save="bytes", multiple_of=1), calibration=[ids])
    (row,) = plan_of(smaller).factorised
    rows = table.weight.detach().double().numpy()
    counts = np.bincount(ids.flatten().numpy(), minlength=37) + 1.0
    singular = np.linalg.svd(np.sqrt(counts)[:, None] * rows, compute_uv=False)
    mean = counts @ rows / counts.sum()
    variance = (counts[:, None] * (rows - mean) ** 2).sum()
    assert row.error == pytest.approx((singular[row.ranks[0] :] ** 2).sum() / variance, rel=1e-6)
    assert (singular[row.ranks[0] - 1 :] ** 2).sum() / variance > 0.4


def test_an_embedding_read_elsewhere_keeps_its_product() -> None:
    class Both(Words):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids) + self.table(ids).mean((1, 2))[:, None]

    ids = torch.randint(301, (50, 11))
    module = Both()
    smaller = low_rank(imported(module, ids[:1]), SAVE_BYTES, calibration=[ids])
    torch.testing.assert_close(run(smaller, (ids[:1],))[0], module(ids[:1]), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_recurrent_layers_factorise_what_they_do_with_inputs(kind: Callable[..., nn.RNNBase]) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.network = kind(40, 13, num_layers=2, bidirectional=True, batch_first=True)
            for name, weight in self.network.named_parameters():
                if name.startswith("weight_ih"):
                    weight.data = narrow(len(weight), weight.shape[1], 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.network(x)[0]
            return y

    module, samples = Recurrent(), torch.randn(32, 6, 40)
    smaller = low_rank(imported(module, samples[:1]), SAVE_BYTES, calibration=[samples])
    rows = {row.weight: row for row in plan_of(smaller).rows}
    assert rows["network.weight_ih_l0"].ranks == (4,)
    assert "inside of the loop" in rows["network.weight_hh_l0"].why
    torch.testing.assert_close(run(smaller, (samples[:1],))[0], module(samples[:1]), atol=0.02, rtol=0.05)
    run_passes(smaller, DEFAULT, (samples[:1],))
    smaller(samples[:1])[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())


def test_what_would_be_slower_stays() -> None:
    """A vector has no use for two small products in the place of one that is hardly larger."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24))
    samples = torch.randn(200, 24)
    graph = imported(module, samples[:1])
    smaller = low_rank(graph, LowRank(max_error=0.3), calibration=[samples])
    plan = plan_of(smaller)
    assert not plan.factorised
    assert all("of the time" in row.why or "full rank" in row.why for row in plan.rows)
    torch.testing.assert_close(run(smaller, (samples[:1],))[0], module(samples[:1]))


def test_a_gather_is_faster_without_a_product() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(500, 64, _weight=narrow(500, 64, 4)), nn.ReLU())
    ids = torch.randint(500, (20, 7))
    plan = plan_of(low_rank(imported(module, ids[:1]), LowRank(multiple_of=1), calibration=[ids]))
    assert "of the time" in plan.rows[0].why


class Slow(EstimatedLatency):
    """Thinks that convolutions take long and linear layers longer."""

    def latency_ms(self, graph: Graph) -> float:
        aten = torch.ops.aten
        return 1.0 + 2 * len(list(calls(graph, aten.linear.default))) + len(list(calls(graph, aten.conv2d.default)))


def test_time_is_that_of_the_given_model() -> None:
    samples = torch.randn(64, 16, 9, 7)
    plan = plan_of(
        low_rank(
            imported(Network(), samples[:1]),
            LowRank(multiple_of=1),
            calibration=[samples],
            latency=Slow(load_target("native")),
        )
    )
    assert not plan.factorised
    assert {row.ms_before for row in plan.rows if row.ms_before == row.ms_before} == {2.0, 3.0}


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5])
def test_budget_of_bytes(share: float) -> None:
    samples = torch.randn(64, 16, 9, 7)
    graph = imported(Network(), samples[:1])
    smaller = low_rank(graph, LowRank(bytes=share, save="bytes", multiple_of=1), calibration=[samples])
    assert 0.5 * share < count_bytes(smaller) / count_bytes(graph) <= share


def test_bytes_that_cannot_be_reached() -> None:
    samples = torch.randn(64, 16, 9, 7)
    graph = imported(Network(), samples[:1])
    with pytest.raises(LowRankError, match=r"bytes=0.01 cannot be reached: the smallest value is 0\.\d+"):
        low_rank(graph, LowRank(bytes=0.01, save="bytes"), calibration=[samples])


def test_accuracy_and_total_error_are_kept() -> None:
    samples = torch.randn(64, 16, 9, 7)
    graph = imported(Network(), samples[:1])
    truth = graph(samples[:1])[0].detach()
    trained: list[int] = []

    def accuracy(run: Any) -> float:
        return 1.0 if float((run(samples[:1]) - truth).abs().max()) == 0 else 0.5

    config = LowRank(max_error=0.3, save="bytes", multiple_of=1)
    kept = low_rank(
        graph, config, calibration=[samples], evaluate=accuracy, fine_tune=lambda graph: trained.append(1)
    )  # fmt: skip
    assert not plan_of(kept).factorised
    assert len(trained) == len(plan_of(kept).notes) == 6
    assert "accuracy 0.5000, at least 0.9900 wanted" in str(plan_of(kept))

    total = LowRank(max_error=0.9, max_total_error=1e-3, save="bytes", multiple_of=1)
    plan = plan_of(low_rank(graph, total, calibration=[samples]))
    assert plan.total_error is not None
    assert plan.total_error <= 1e-3
    assert "outputs lose" in plan.notes[0]


def test_shared_and_small_and_kept_weights_stay() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.one, self.up = nn.Linear(16, 16), nn.Linear(16, 1), nn.ConvTranspose2d(16, 16, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.layer(torch.relu(self.layer(x)))
            return self.one(y), self.up(y[:, :, None, None])

    x = torch.randn(1, 16)
    rows = plan_of(low_rank(imported(Shared(), x), LowRank(save="bytes"))).rows
    assert [row.why.split(" '")[0] for row in rows] == [
        "its weight is shared with",
        "its weight is shared with",
        "its rank is 1 already",
        "it is a transposed convolution",
    ]
    module = nn.Sequential(nn.Linear(32, 32))
    (row,) = plan_of(low_rank(imported(module, torch.randn(1, 32)), LowRank(keep=["0.*"]))).rows
    assert row.why == "keep= names it"


def test_wrong_inputs() -> None:
    samples = torch.randn(64, 16, 9, 7)
    graph = imported(Network(), samples[:1])
    with pytest.raises(LowRankError, match=r"keep='haed\.\*' matches no layer"):
        low_rank(graph, LowRank(keep=["haed.*"]))
    with pytest.raises(InputError, match="there are none"):
        low_rank(graph, LowRank(max_total_error=0.1))
    with pytest.raises(InputError, match="do not fit the graph"):
        low_rank(graph, LowRank(), calibration=[samples[:, :3]])
    with pytest.raises(LowRankError, match="'conv2d' reads NaN"):
        low_rank(graph, LowRank(), calibration=[torch.full((4, 16, 9, 7), float("nan"))])


def test_constant_activations() -> None:
    """Nothing varies, so nothing can be lost, and no direction is preferred."""
    graph = imported(Network(), torch.zeros(1, 16, 9, 7))
    smaller = low_rank(graph, SAVE_BYTES, calibration=[torch.zeros(8, 16, 9, 7)])
    assert bool(torch.isfinite(run(smaller, (torch.zeros(1, 16, 9, 7),))[0]).all())
    constants = [get_constant(smaller, node) for node in smaller.graph.nodes if node.op == "get_attr"]
    assert all(bool(torch.isfinite(constant).all()) for constant in constants if constant is not None)


def test_without_calibration() -> None:
    graph = imported(Network(), torch.zeros(1, 16, 9, 7))
    plan = plan_of(low_rank(graph, SAVE_BYTES))
    assert {row.weight for row in plan.factorised} == {"first.weight", "head.weight"}
    assert plan.total_error is None


def test_embeddings_lose_what_the_layers_behind_do_not_read() -> None:
    """The convolutions read 5 directions of 24 only, so that a table of full rank has no more to say."""

    class Deaf(Words):
        def __init__(self) -> None:
            super().__init__()
            self.table.weight.data = torch.randn(301, 24)
            heard = torch.linalg.qr(torch.randn(24, 5)).Q
            for name, weight in self.convs.named_parameters():
                if name.endswith("weight"):
                    weight.data = torch.einsum("oik,ir,jr->ojk", weight.detach(), heard, heard)

    module, ids = Deaf(), torch.randint(301, (50, 11))
    smaller = low_rank(
        imported(module, ids[:1]), LowRank(max_error=0.05, save="bytes", multiple_of=1), calibration=[ids]
    )
    (row,) = (row for row in plan_of(smaller).rows if row.method == "embedding")
    assert row.ranks == (5,)
    torch.testing.assert_close(run(smaller, (ids[:1],))[0], module(ids[:1]), atol=0.15, rtol=0.1)
