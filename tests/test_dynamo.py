"""`torch.compile` with the backend, compared with PyTorch."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import prunus
import prunus.dynamo
from prunus.errors import InputError


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the first input of each graph that was compiled to a library."""
    shapes: list[tuple[int, ...]] = []
    compile = prunus.compile

    def spy(program: object, *, example_inputs: tuple[Tensor, ...], **arguments: Any) -> prunus.Artifact:
        shapes.append(next(tuple(value.shape) for value in example_inputs if isinstance(value, Tensor)))
        return compile(program, example_inputs=example_inputs, **arguments)

    monkeypatch.setattr(prunus.dynamo, "compile", spy)
    return shapes


class Network(nn.Module):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x)))))


class Breaking(nn.Module):
    """A network that looks at a value on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.relu(self.conv(x))
        if y.sum().item() < 0:
            y = -y
        return {"y": self.head(y)}


class Text(nn.Module):
    """Token numbers to a score for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.dense = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.relu(self.dense(self.embedding(tokens)))


def check(module: nn.Module, compiled_module: Callable[..., Any], *examples: Tensor) -> None:
    """Compare the results for each example."""
    with torch.no_grad():
        for x in examples:
            torch.testing.assert_close(compiled_module(x), module(x), atol=1e-5, rtol=1e-4)


def statistics(module: Network) -> Tensor:
    """Return the mean that batch norm keeps."""
    return module.norm.get_buffer("running_mean")


def test_network(compiled: list[tuple[int, ...]]) -> None:
    module = Network().eval()
    fast = torch.compile(module, backend="prunus")
    check(module, fast, *(torch.randn(1, 3, 7, 9) for _ in range(3)))
    assert compiled == [(1, 3, 7, 9)]


def test_graph_break(compiled: list[tuple[int, ...]]) -> None:
    module = Breaking().eval()
    check(module, torch.compile(module, backend="prunus"), torch.randn(1, 3, 5, 5))
    assert compiled == [(1, 3, 5, 5), (1, 5, 5, 5)]


@pytest.mark.parametrize("dynamic", [None, False, True])
def test_new_sizes_are_compiled_once_each(dynamic: bool | None, compiled: list[tuple[int, ...]]) -> None:
    module = Network().eval()
    fast = torch.compile(module, backend="prunus", dynamic=dynamic)
    sizes = [(1, 3, 8, 9), (1, 3, 6, 9), (1, 3, 8, 9), (1, 3, 6, 9), (1, 3, 5, 9)]
    check(module, fast, *map(torch.randn, sizes))
    assert set(compiled) == set(sizes)
    # By default TorchDynamo makes its second graph symbolic, and calls that one for the first sizes as well.
    assert len(compiled) == len(set(sizes)) + (dynamic is None)


@torch._dynamo.config.patch(recompile_limit=2)  # type: ignore[untyped-decorator]
def test_sizes_beyond_the_limit_run_in_pytorch(compiled: list[tuple[int, ...]]) -> None:
    module = Network().eval()
    fast = torch.compile(module, backend="prunus", dynamic=True)
    with pytest.warns(UserWarning, match="compiled for 2 sets of sizes"):
        check(module, fast, *(torch.randn(1, 3, rows, 7) for rows in (10, 11, 12, 13)))
    assert len(compiled) == 2


def test_changed_weights_are_seen(compiled: list[tuple[int, ...]]) -> None:
    module = Network().eval()
    fast = torch.compile(module, backend="prunus")
    x = torch.randn(1, 3, 4, 4)
    check(module, fast, x)
    with torch.no_grad():
        module.conv.weight.mul_(2)
        statistics(module).add_(1)
    check(module, fast, x)
    assert len(compiled) == 2


def test_gradients_run_in_pytorch(compiled: list[tuple[int, ...]]) -> None:
    module = Network().eval()
    fast = torch.compile(module, backend="prunus")
    with pytest.warns(UserWarning, match="gradients are wanted"):
        fast(torch.randn(1, 3, 4, 4)).sum().backward()
    assert module.conv.weight.grad is not None
    assert not compiled


@pytest.mark.parametrize("part", ["norm", "drop"])
def test_training_mode_runs_in_pytorch(part: str, compiled: list[tuple[int, ...]]) -> None:
    module = Network().eval()
    getattr(module, part).train()
    fast = torch.compile(module, backend="prunus")
    before = statistics(module).clone()
    with torch.no_grad(), pytest.warns(UserWarning, match="training mode"):
        fast(torch.randn(4, 3, 4, 4))
    assert torch.equal(before, statistics(module)) == (part == "drop")
    assert not compiled


def test_token_numbers() -> None:
    module = Text().eval()
    check(module, torch.compile(module, backend="prunus"), torch.randint(0, 11, (2, 7)))


def test_numbers_beside_tensors() -> None:
    def function(x: Tensor, count: int, scale: float) -> tuple[Tensor, int]:
        return torch.relu(x)[:count] * scale, count + 1

    fast = torch.compile(function, backend="prunus", dynamic=True)
    x = torch.randn(7, 5)
    for count in (2, 3, 5):
        found, expected = fast(x, count, 0.5), function(x, count, 0.5)
        torch.testing.assert_close(found[0], expected[0])
        assert found[1] == expected[1]


def test_options() -> None:
    module = Network().eval()
    seen = []

    def spy(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
        seen.append(graph)
        return graph

    options: dict[str, Any] = {"target": "x86-64-v2", "threads": 2, "passes": [spy]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check(module, torch.compile(module, backend="prunus", options=options), torch.randn(1, 3, 4, 4))
    assert seen


def test_unknown_option() -> None:
    graph = torch.fx.symbolic_trace(torch.nn.ReLU())
    with pytest.raises(InputError, match="'targt'") as caught:
        prunus.dynamo.backend(graph, [torch.zeros(1)], options={"targt": "rpi4"})
    assert "'target'" in caught.value.do
