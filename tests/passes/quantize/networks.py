"""Small networks that have each operator with an integer form, and what they become."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunus.compression import Quantize


class Of(nn.Module):
    """A module of a function that calls `self.parts` by position."""

    def __init__(self, function: Callable[..., object], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs, *self.parts)


@dataclass(frozen=True)
class Network:
    """A network and the operators of its integer graph, in order."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    operators: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, **{"padding": kernel // 2, **options})  # type: ignore[arg-type]


def residual(x: Tensor, first: nn.Module, second: nn.Module, last: nn.Module) -> object:
    x = functional.relu(first(x))
    return last(functional.relu(x + second(x)))


def difference(x: Tensor, first: nn.Module, second: nn.Module, last: nn.Module) -> object:
    return last(first(x) - second(x))


def gate(x: Tensor, first: nn.Module, squeeze: nn.Module, last: nn.Module) -> object:
    """Squeeze and excite."""
    x = functional.hardswish(first(x))
    return last(x * torch.sigmoid(squeeze(x.mean((2, 3), keepdim=True))))


def branches(x: Tensor, stem: nn.Module, left: nn.Module, right: nn.Module, last: nn.Module) -> object:
    x = stem(x)
    return last(torch.cat([functional.relu(left(x)), functional.relu(right(x))], 1))


def pools(x: Tensor, first: nn.Module, second: nn.Module, last: nn.Module) -> object:
    x = functional.max_pool2d(functional.relu(first(x)), 3, 2, 1)
    return last(functional.avg_pool2d(second(x), 2).flatten(1))


def attention(x: Tensor, query: nn.Module, key: nn.Module, value: nn.Module) -> object:
    return torch.softmax(query(x) @ key(x).transpose(1, 2), -1) @ value(x)


def padded(x: Tensor, first: nn.Module, last: nn.Module) -> object:
    return last(functional.pad(functional.relu(first(x)), (0, 1, 2, 1)))


def words(x: Tensor, table: nn.Module, first: nn.Module, last: nn.Module) -> object:
    return last(functional.relu(first(table(x.long()).transpose(1, 2))).amax(2))


NETWORKS = [
    Network(
        "chain",
        lambda: nn.Sequential(conv(3, 7), nn.ReLU(), conv(7, 5, stride=2), nn.ReLU6(), conv(5, 17, 1)),
        (2, 3, 9, 7),
        ("quantize", "qconv", "qconv", "qconv_dequant"),
    ),
    Network(
        "one dimension",
        lambda: nn.Sequential(nn.Conv1d(3, 5, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv1d(5, 5, 5, groups=5)),
        (2, 3, 11),
        ("quantize", "qconv", "qconv_dequant"),
    ),
    Network(
        "residual",
        lambda: Of(residual, conv(3, 5), conv(5, 5), conv(5, 3)),
        (2, 3, 7, 5),
        ("quantize", "qconv", "qconv", "qadd", "qconv_dequant"),
    ),
    Network(
        "difference",
        lambda: Of(difference, conv(3, 5), conv(3, 5), conv(5, 3)),
        (1, 3, 5, 5),
        ("quantize", "qconv", "qconv", "qadd", "qconv_dequant"),
    ),
    Network(
        "gate",
        lambda: Of(gate, conv(3, 8), conv(8, 8, 1), conv(8, 3)),
        (2, 3, 7, 7),
        ("quantize", "qconv", "qlookup", "qmean", "qconv", "qlookup", "qmul", "qconv_dequant"),
    ),
    Network(
        "branches",
        lambda: Of(branches, conv(3, 4), conv(4, 5), conv(4, 3), conv(8, 3)),
        (2, 3, 7, 5),
        ("quantize", "qconv", "qconv", "qconv", "cat", "qconv_dequant"),
    ),
    Network(
        "pools",
        lambda: Of(pools, conv(3, 4), conv(4, 6), nn.Linear(6 * 2 * 2, 3)),
        (2, 3, 8, 8),
        ("quantize", "qconv", "max_pool2d", "qconv", "qavg_pool2d", "reshape", "qlinear_dequant"),
    ),
    Network(
        "perceptron",
        lambda: nn.Sequential(nn.Linear(13, 9), nn.GELU(), nn.Linear(9, 7), nn.SiLU(), nn.Linear(7, 3)),
        (4, 13),
        ("quantize", "qlinear", "qlookup", "qlinear", "qlookup", "qlinear_dequant"),
    ),
    Network(
        "attention",
        lambda: Of(attention, nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(8, 5)),
        (2, 3, 8),
        ("quantize", "qlinear_dequant", "qlinear_dequant", "permute", "matmul", "softmax", "qlinear_dequant", "matmul"),
    ),
    Network("padded", lambda: Of(padded, conv(3, 5), conv(5, 4)), (1, 3, 6, 5), ("quantize", "qconv", "qconv_dequant")),
    Network(
        "words",
        lambda: Of(words, nn.Embedding(50, 6), nn.Conv1d(6, 5, 3), nn.Linear(5, 2)),
        (2, 9),
        ("_to_copy", "embedding", "permute", "qconv", "amax", "qlinear_dequant"),
    ),
    Network(
        "normalised",
        lambda: nn.Sequential(conv(3, 6), nn.BatchNorm2d(6), nn.Hardtanh(-1, 2), conv(6, 4)),
        (3, 3, 6, 6),
        ("quantize", "qconv", "qconv_dequant"),
    ),
]
BY_NAME = {network.name: network for network in NETWORKS}


def samples(network: Network, count: int = 48) -> Tensor:
    """Draw inputs: numbers, or words where the network looks them up."""
    generator = torch.Generator().manual_seed(1)
    shape = (count, *network.shape[1:])
    if network.name == "words":
        return torch.randint(0, 50, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


def everywhere(network: Network, **options: Any) -> Quantize:
    """Return a request to compute all that can be in integers, whether that is faster or not."""
    return Quantize(calibration=[samples(network)], where="everywhere", **options)
