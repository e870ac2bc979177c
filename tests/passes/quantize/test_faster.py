"""Int8 where it is faster: against all assignments tried one by one."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from prunus.compression import Quantize
from prunus.errors import QuantizeError
from prunus.frontend import import_model
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.latency import EstimatedLatency, StepTimes
from prunus.passes.quantize import Plan, annotate, quantize
from prunus.passes.quantize.faster import GAIN, faster_in_floats
from prunus.targets import load_target

RPI4 = load_target("rpi4")


class Branches(nn.Module):
    """Four layers, one of which reads what two write."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right, self.last = (nn.Conv2d(4, 4, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).relu()
        result: Tensor = self.last(self.left(y).relu() + torch.sigmoid(self.right(y)))
        return result


@pytest.fixture(scope="module")
def branches() -> tuple[Graph, Plan]:
    x = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    graph = run_passes(import_model(Branches().eval(), example_inputs=(x,)), DEFAULT)
    return graph, annotate(graph, RPI4)


UNITS = (("conv2d", "relu"), ("conv2d_1", "relu_1"), ("conv2d_2",), ("sigmoid",), ("add",), ("conv2d_3",))
LAYERS = ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3")
# Value -> units that read it; None is the float world. The first entry of a pair writes it.
READERS = {None: (0,), 0: (1, 2), 1: (4,), 2: (3,), 3: (4,), 4: (5,)}


def cost(floats: tuple[bool, ...], float_times: list[float], integer_times: list[float], conversion: float) -> float:
    """Add up what an assignment costs: each value is converted at most once in each direction."""
    total = sum(
        f if is_float else (1 - GAIN) * i for is_float, f, i in zip(floats, float_times, integer_times, strict=True)
    )
    for writer, readers in READERS.items():
        written = True if writer is None else floats[writer]
        if written and not all(floats[reader] for reader in readers):
            total += conversion
        if not written and any(floats[reader] for reader in readers) and UNITS[writer or 0][0] not in LAYERS:
            total += conversion
    return total


@pytest.mark.parametrize("seed", range(40))
def test_no_assignment_is_cheaper(branches: tuple[Graph, Plan], seed: int) -> None:
    graph, plan = branches
    generator = torch.Generator().manual_seed(seed)
    float_times = (10 * torch.rand(6, generator=generator)).tolist()
    integer_times = (10 * torch.rand(6, generator=generator)).tolist()
    conversion = 3 * float(torch.rand((), generator=generator))
    float_steps: StepTimes = list(zip(UNITS, float_times, strict=True))
    integer_steps: StepTimes = [(("x_quantize",), conversion), *zip(UNITS, integer_times, strict=True)]
    found = faster_in_floats(plan, graph, float_steps, integer_steps)
    chosen = tuple(unit[0] in found for unit in UNITS)
    best = min(cost(one, float_times, integer_times, conversion) for one in product((False, True), repeat=6))
    assert cost(chosen, float_times, integer_times, conversion) == pytest.approx(best)


def test_a_slow_integer_layer_stays_in_float32() -> None:
    """Depthwise layers without VNNI gain nothing, and convert on both sides."""
    module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=32), nn.ReLU()).eval()
    x = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    graph = run_passes(import_model(module, example_inputs=(x[:1],)), DEFAULT)
    target = load_target("x86-64-v3")
    everywhere = quantize(graph, Quantize(calibration=[x], where="everywhere"), target=target)
    faster = quantize(graph, Quantize(calibration=[x]), target=target)
    times = [EstimatedLatency(target).latency_ms(one) for one in (graph, everywhere, faster)]
    assert times[2] <= min(times[:2])
    rows = faster.meta["quantization"]
    assert all(("us in float32" in row.reason) == (row.precision == "float32") for row in rows)


def test_wrong_words() -> None:
    with pytest.raises(QuantizeError, match="where='there'"):
        Quantize(calibration=[torch.zeros(1)], where="there")
