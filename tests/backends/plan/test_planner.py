"""Programs of small modules: which steps there are, and where values lie."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from prunus.backends.plan.planner import plan
from prunus.backends.plan.program import Program, Storage
from prunus.errors import UnsupportedOperators
from prunus.frontend import import_model
from prunus.passes import default_passes, run_passes
from prunus.targets import load_target


def program(module: nn.Module, *examples: torch.Tensor) -> Program:
    torch.manual_seed(0)
    graph = run_passes(import_model(module.eval(), example_inputs=examples), default_passes(), examples)
    return plan(graph, name="net", target=load_target("x86-64-v3"))


def families(planned: Program) -> list[str]:
    return [step.kernel.family for step in planned.steps]


def copies(planned: Program) -> int:
    return sum(step.nodes[0].startswith("copy of") for step in planned.steps)


def test_convolution_reads_the_callers_picture() -> None:
    planned = program(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)), torch.randn(1, 3, 8, 8))
    assert families(planned)[:2] == ["convolution", "matmul"]
    assert planned.steps[0].arguments[0].buffer.storage is Storage.INPUT


class Shortcut(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + x).mean((2, 3))


def test_a_residual_block_is_two_convolutions() -> None:
    planned = program(nn.Sequential(nn.Conv2d(3, 8, 3), Shortcut()), torch.randn(1, 3, 9, 9))
    assert families(planned) == ["convolution"] * 3 + ["reduce"]
    # The sum takes over the shortcut's memory: two feature maps are alive, not three.
    assert planned.arena.size_bytes == 2 * -(-8 * 49 * 4 // 64) * 64


class Growing(nn.Module):
    """A dense block."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4 + 4 * i, 4, 3, padding=1) for i in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = [x * 2]
        for layer in self.layers:
            maps.append(torch.relu(layer(torch.cat(maps, 1))))
        return torch.cat(maps, 1).mean((2, 3))


def test_a_dense_block_copies_nothing() -> None:
    planned = program(Growing(), torch.randn(1, 4, 7, 7))
    assert copies(planned) == 0
    assert len({view.buffer for step in planned.steps for view in step.arguments if view.shape[2:] == (7, 7)}) == 2


class Halves(nn.Module):
    """Splits channels, and joins them again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = torch.relu(x).chunk(2, 1)
        return torch.cat([torch.sigmoid(left), right * 3], 1)


def test_splits_are_views() -> None:
    planned = program(Halves(), torch.randn(1, 6, 5, 5))
    assert families(planned) == ["elementwise"] * 3
    assert copies(planned) == 0


class Aliases(nn.Module):
    """Returns an input, a view of a result, and one result twice."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.exp(x)
        return x, y.reshape(-1), y, y


def test_results_lie_in_the_callers_memory() -> None:
    planned = program(Aliases(), torch.randn(3, 4))
    buffers = [tensor.buffer for tensor in planned.outputs]
    assert len(set(buffers)) == 4
    assert all(buffer.storage is Storage.OUTPUT for buffer in buffers)
    assert [tensor.shape for tensor in planned.outputs] == [(3, 4), (12,), (3, 4), (3, 4)]


class Uneven(nn.Module):
    """Pads on one side, as TensorFlow does for stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


def test_uneven_padding_is_no_step() -> None:
    planned = program(Uneven(), torch.randn(1, 3, 8, 8))
    assert "pad" not in families(planned)


@pytest.mark.parametrize("batch", [1, 2])
def test_equal_layers_share_a_kernel_and_weights_are_kept_once(batch: int) -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1)
    planned = program(nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU()), torch.randn(batch, 8, 6, 6))
    middle = [step for step in planned.steps if step.kernel.family == "convolution"]
    constants = sum(array.nbytes for array in planned.constants.values())
    assert len(middle) == 3
    assert constants == sum(np.prod(p.shape) * 4 for p in layer.parameters())


class FirstRows(nn.Module):
    """Returns a part of a value, then the value."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.exp(x)
        return y[:1], y


def test_a_part_of_a_result_has_memory_of_its_own() -> None:
    planned = program(FirstRows(), torch.randn(3, 4))
    assert [tensor.buffer.size for tensor in planned.outputs] == [4, 12]
    assert copies(planned) == 1


class TwoOrders(nn.Module):
    """Reads one picture with channels last, and with columns ahead of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.conv(x), torch.relu(x.transpose(2, 3).reshape(2, 8, 36)), self.conv(x.flip(0))


def test_copies_in_two_orders_are_two_buffers() -> None:
    planned = program(TwoOrders(), torch.randn(2, 8, 6, 6))
    written = [view for step in planned.steps for view in step.written_views if view.buffer.storage is Storage.ARENA]
    whole = [view.buffer for view in written if view.buffer.size == np.prod(view.shape)]
    assert len(whole) == len(set(whole))


class RunTimeBias(nn.Module):
    """Layers whose bias is computed: no kernel of constants takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.kernel = nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.randn(7, 5, 3, 3))

    def forward(self, x: torch.Tensor, picture: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return functional.linear(x, self.weight, bias * 2), functional.conv2d(picture, self.kernel, bias * 2)


def test_a_bias_that_is_computed_is_read() -> None:
    planned = program(RunTimeBias(), torch.randn(2, 5), torch.randn(1, 5, 6, 6), torch.randn(7))
    double = planned.steps[0].written_views[0].buffer
    assert sum(double in {view.buffer for view in step.read_views} for step in planned.steps) == 2


class PadsChannels(nn.Module):
    """Pads the channels, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(functional.pad(x, (1, 1, 1, 1, 0, 1)))


def test_padded_channels_are_a_step() -> None:
    assert families(program(PadsChannels(), torch.randn(1, 3, 8, 8)))[:2] == ["pad", "convolution"]


class PadsVolume(nn.Module):
    """A convolution of the long tail, which takes no padding in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(functional.pad(x, (1, 0, 0, 1, 1, 1)))


def test_padding_that_no_kernel_takes_in_is_a_step() -> None:
    assert families(program(PadsVolume(), torch.randn(1, 2, 4, 4, 4))) == ["pad", "relax"]


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), nn.Conv1d(5, 3, 3), nn.Conv1d(5, 5, 3, groups=5)], ids=str)
def test_layers_of_float64_are_refused(layer: nn.Module) -> None:
    with pytest.raises(UnsupportedOperators, match=r"it multiplies float32, not float64[^$]*`model.float\(\)`"):
        program(layer.double(), torch.randn(2, 5, 5).double())
