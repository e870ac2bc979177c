"""Graphs as people train them: any batch, and modes that switch."""

from collections.abc import Callable

import pytest
import torch

from prunus.frontend import import_model
from prunus.passes import CANONICAL, run_passes
from prunus.passes.trainable import TrainableGraph
from tests.networks import FAMILIES


def canonical(module: torch.nn.Module, examples: tuple[torch.Tensor, ...]) -> TrainableGraph:
    return TrainableGraph(run_passes(import_model(module, example_inputs=examples), CANONICAL, examples))


@pytest.mark.parametrize(
    "family", ["resnet-basic", "shufflenet-v2", "vit", "swin", "lstm-bidirectional", "conv-tasnet"]
)
def test_other_batches(family: str) -> None:
    module, examples = FAMILIES[family]()
    trainable = canonical(module, examples)
    assert trainable.any_batch
    batches = [torch.cat([tensor, tensor.flip(0), tensor]) for tensor in examples]
    with torch.no_grad():
        torch.testing.assert_close(trainable(*batches), module(*batches), rtol=1e-4, atol=1e-4)


def test_large_numbers_round_differently_in_batches() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(256, 256, bias=False) for _ in range(6)]
    for layer in layers:
        torch.nn.init.normal_(layer.weight)
    assert canonical(torch.nn.Sequential(*layers), (torch.randn(1, 256),)).any_batch


class Chaos(torch.nn.Module):
    """Magnifies the last bit, in which batches differ, to the size of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(257, 65)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(1e7 * self.linear(x)).reshape(1, 5, 13)


def test_magnified_rounding_does_not_close_the_batch() -> None:
    torch.manual_seed(0)
    trainable = canonical(Chaos(), (torch.randn(1, 257),))
    assert trainable.any_batch
    batch = torch.randn(7, 257)
    with torch.no_grad():
        assert (trainable(batch) - torch.cat([trainable(x) for x in batch.split(1)])).abs().max() > 0.01
        exact, batch = trainable.double(), batch.double()
        torch.testing.assert_close(exact(batch), torch.cat([exact(x) for x in batch.split(1)]))


class Picks(torch.nn.Module):
    """Picks by sample: a mask, as language models write it, positions from a table, and what stands at the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 5)
        self.table = torch.nn.Parameter(torch.randn(1, 9))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length = tokens.shape
        rows = torch.arange(batch)
        seen = (tokens > 0)[rows[:, None, None], torch.arange(length)[None, None, :]]
        places = torch.gather(self.table.expand(batch, -1), 1, tokens)
        y = self.embedding(tokens) * seen.mT + places[:, :, None]
        return y[rows, tokens.argmax(1)] + y.mean(1)


def test_each_sample_picks_from_its_own_rows() -> None:
    module = Picks()
    trainable = canonical(module, (torch.randint(9, (1, 7)),))
    assert trainable.any_batch
    for size in (1, 4):
        tokens = torch.randint(9, (size, 7))
        torch.testing.assert_close(trainable(tokens), module(tokens))


class Ranking(torch.nn.Module):
    """Reads across the batch, so that no other batch means the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(4, 3) - x.mean()


def test_samples_go_one_by_one_where_the_batch_is_fixed() -> None:
    trainable = canonical(Ranking(), (torch.randn(2, 6),))
    assert not trainable.any_batch
    pair = torch.randn(4, 6)
    expected = torch.cat([Ranking()(half) for half in pair.split(2)])
    torch.testing.assert_close(trainable(pair), expected)


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Flatten()
    )


@pytest.mark.parametrize("build", [network], ids=["batch norm and dropout"])
def test_modes(build: Callable[[], torch.nn.Module]) -> None:
    trainable = canonical(build().eval(), (torch.randn(1, 1, 8, 8),))
    batch = torch.randn(16, 1, 8, 8)
    resting = trainable(batch)
    assert torch.equal(resting, trainable(batch))
    before = {name: buffer.clone() for name, buffer in trainable.named_buffers()}
    trainable.train()
    assert (trainable(batch) == 0).float().mean() > (resting == 0).float().mean() + 0.1
    moved = [name for name, buffer in trainable.named_buffers() if not torch.equal(buffer, before[name])]
    assert any("running_mean" in name for name in moved)
    trainable.eval()
    assert torch.equal(trainable(batch), trainable(batch))


def test_training_changes_the_graph_it_came_from() -> None:
    examples = (torch.randn(1, 1, 8, 8),)
    graph = run_passes(import_model(network().eval(), example_inputs=examples), CANONICAL, examples)
    trainable = TrainableGraph(graph)
    optimizer = torch.optim.SGD(trainable.parameters(), lr=0.1)
    before = graph(*examples)[0].clone()
    trainable(torch.randn(8, 1, 8, 8)).square().mean().backward()
    optimizer.step()
    assert not torch.allclose(before, graph(*examples)[0])
