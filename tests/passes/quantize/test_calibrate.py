"""Which numbers decide over a grid."""

import pytest
import torch
from torch import nn

from prunus.frontend.torch import import_torch
from prunus.passes import DEFAULT, run_passes
from prunus.passes.quantize import annotate
from prunus.passes.quantize.calibrate import calibrate
from prunus.passes.recovery import Batches
from prunus.targets import load_target


class Peaks(nn.Module):
    """A layer whose result only a maximum reads, or also another layer."""

    def __init__(self, *, also: bool) -> None:
        super().__init__()
        self.first, self.last, self.beside = nn.Conv2d(2, 4, 1), nn.Linear(4, 3), nn.Conv2d(4, 3, 1)
        self.also = also

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).relu()
        result = self.last(y.flatten(2).amax(2))
        return result + self.beside(y).mean((2, 3)) if self.also else result


@pytest.mark.parametrize("also", [False, True])
def test_what_a_maximum_drops_does_not_count(also: bool) -> None:
    """Among many small numbers a rare peak is clipped for the least square error, but not where only peaks are read."""
    torch.manual_seed(0)
    module = Peaks(also=also).eval()
    x = torch.randn(64, 2, 128, 128) * 0.1
    x[0, :, 0, 0] = 4.0
    graph = run_passes(import_torch(module, (x[:1],)), DEFAULT, (x[:1],))
    plan = annotate(graph, load_target("rpi4"))
    with torch.no_grad():
        peak = float(module.first(x).relu().max())
    grid = next(grid for node, grid in calibrate(graph, plan, Batches([x]), "mse").items() if node.name == "relu")
    assert (grid.scale * 255 > 0.95 * peak) is not also
