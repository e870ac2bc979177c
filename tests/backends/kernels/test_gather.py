"""Rows and elements picked by index equal PyTorch's, and indices outside of the table stay inside of its memory."""

import pytest
import torch

from prunus.backends.kernels.gather import GatherRows
from tests.backends.kernels.harness import Layout, check_kernel

aten = torch.ops.aten


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("constants", [[], [0], [1], [0, 1]], ids=str)
@pytest.mark.parametrize("width", [1, 7, 64])
def test_embedding(width: int, constants: list[int], index_dtype: torch.dtype) -> None:
    given = (torch.randn(19, width), torch.randint(0, 19, (3, 5), dtype=index_dtype))
    check_kernel(GatherRows(), aten.embedding.default, given, constants=constants)


@pytest.mark.parametrize("order", [None, (0, 2, 3, 1)])
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_index_select(dim: int, order: tuple[int, ...] | None) -> None:
    x = torch.randn(2, 5, 3, 17)
    index = torch.randint(0, x.shape[dim], (4,))
    check_kernel(
        GatherRows(), aten.index_select.default, (x, dim, index), layouts={0: Layout(order, 1)},
        output_layout=Layout(order),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int8, torch.int64, torch.bool])
def test_index_select_copies_every_dtype(dtype: torch.dtype) -> None:
    x = torch.randint(0, 2, (6, 33)).to(dtype)
    check_kernel(GatherRows(), aten.index_select.default, (x, 0, torch.tensor([5, 0, 5])), constants=[2])


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_gather(dim: int) -> None:
    x = torch.randn(4, 6, 9)
    index = torch.randint(0, x.shape[dim], (3, 5, 7))
    check_kernel(GatherRows(), aten.gather.default, (x, dim, index))


@pytest.mark.parametrize("target", ["x86-64-v3", "rpi4"])
def test_targets(target: str) -> None:
    given = (torch.randn(19, 37), torch.randint(0, 19, (3, 5)))
    check_kernel(GatherRows(), aten.embedding.default, given, constants=[0], target=target)


def test_indices_are_kept_inside() -> None:
    table = torch.randn(4, 8)

    def clamped(weight: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return aten.embedding.default(weight, index.clamp(0, 3))

    check_kernel(
        GatherRows(), _Like(aten.embedding.default, clamped), (table, torch.tensor([-(2**40), -1, 2, 4, 2**40]))
    )


class _Like:
    """Computes as `function`, and is taken for `operator` in a graph."""

    def __init__(self, operator: torch._ops.OpOverload, function: object) -> None:
        self.operator, self.function = operator, function
        self.overloadpacket = operator

    def __call__(self, *arguments: torch.Tensor) -> torch.Tensor:
        return self.function(*arguments)  # type: ignore[operator]

    __name__ = "embedding"
