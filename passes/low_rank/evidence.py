"""What layers read on calibration inputs: a random choice of columns, or nothing at all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from prunus.errors import LowRankError
from prunus.passes.graph import Graph
from prunus.passes.low_rank.layers import Layer, Table
from prunus.passes.quantize.watch import watch
from prunus.passes.recovery import Batches

# So many columns settle a covariance of some hundred channels; and so many numbers (16 MB) are kept for one layer.
_COLUMNS = 8192
_NUMBERS = 1 << 22
# Directions that the samples never showed count a little, since other inputs may: this share of the mean energy.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Evidence:
    """What one layer reads.

    Attributes:
        columns: (count, I, *kernel) float32, each what one output position reads; None where nothing is known, and then
            every input counts the same.
    """

    columns: Tensor | None = None

    @cached_property
    def mean(self) -> Tensor | None:
        """Mean of what is read, (I, *kernel) float64."""
        return None if self.columns is None else self.columns.double().mean(0)

    @cached_property
    def centred(self) -> Tensor | None:
        """The columns less their mean, (count, I * kernel) float64, scaled so that squares add up to means."""
        if self.columns is None or self.mean is None:
            return None
        return (self.columns.double() - self.mean).flatten(1) / math.sqrt(len(self.columns))

    def root(self) -> Tensor | None:
        """Return R with R'R the covariance of (I * kernel) numbers, a small ridge added."""
        return None if self.centred is None else _with_ridge(self.centred)

    def root_along(self, *dims: int) -> Tensor | None:
        """Return the same for the dimensions `dims` of (I, *kernel) alone, over all places of the others."""
        if self.columns is None or self.centred is None:
            return None
        whole = self.centred.reshape(len(self.columns), *self.columns.shape[1:])
        others = [dim for dim in range(whole.dim()) if dim - 1 not in dims]
        size = math.prod(self.columns.shape[1 + dim] for dim in dims)
        return _with_ridge(whole.permute(*others, *(1 + dim for dim in dims)).reshape(-1, size))

    def energy(self, weight: Tensor) -> float:
        """Return the variance of what a weight (O, I, *kernel) makes of the columns, summed over the outputs."""
        matrix = weight.double().flatten(1)
        return float((matrix if self.centred is None else self.centred @ matrix.t()).square().sum())

    def error(self, weight: Tensor, instead: Tensor) -> float:
        """Return the share of the outputs' variance that is lost with `instead` of `weight`."""
        whole = self.energy(weight)
        return self.energy(weight.double() - instead.double()) / whole if whole > 0 else 0.0


def _with_ridge(root: Tensor) -> Tensor:
    size = root.shape[1]
    scale = math.sqrt(_RIDGE * float(root.square().sum()) / size)
    return torch.cat([root, scale * torch.eye(size, dtype=root.dtype)]) if scale > 0 else torch.eye(size).double()


def collect(graph: Graph, layers: list[Layer], tables: list[Table], batches: Batches) -> Mapping[str, Evidence]:
    """Run calibration samples and return the evidence of each layer, by the name of its node.

    Of a table, the columns are how often each row is picked: (rows,) counts.

    Raises:
        LowRankError: NaN or infinite numbers on the way.
        InputError: samples that do not fit the graph.
    """
    generator = torch.Generator().manual_seed(0)
    kept = {layer.name: _Columns(layer, generator) for layer in layers}
    counts = {table.name: torch.zeros(len(table.weight), dtype=torch.float64) for table in tables}
    readers: dict[str, list[Layer | Table]] = {}
    everything: list[Layer | Table] = [*layers, *tables]
    for one in everything:
        readers.setdefault(one.reads.name, []).append(one)

    def see(name: str, read: Tensor) -> None:
        for one in readers[name]:
            if isinstance(one, Table):
                counts[one.name] += torch.bincount(read.flatten().long(), minlength=len(one.weight))
            else:
                kept[one.name].add(read)

    watch(graph, batches, readers, see)
    found = {name: Evidence(columns.columns) for name, columns in kept.items()}
    return {**found, **{name: Evidence(count) for name, count in counts.items()}}


class _Columns:
    """A uniform choice among all columns that a layer reads: those with the largest random keys."""

    def __init__(self, layer: Layer, generator: torch.Generator) -> None:
        size = layer.weight[0].numel()
        self.layer, self.generator = layer, generator
        self.count = max(1, min(_COLUMNS, _NUMBERS // size))
        self.columns = torch.empty(0, *layer.weight.shape[1:])
        self.keys = torch.empty(0)

    def add(self, read: Tensor) -> None:
        if not bool(torch.isfinite(read).all()):
            raise LowRankError(
                f"layer {self.layer.name!r} reads NaN or infinite numbers on the calibration data",
                expected="finite activations", do="look for bad samples, or leave the layer out: keep=[...]",
            )  # fmt: skip
        windows = self.layer.windows(read)
        places = math.prod(windows.shape[: windows.dim() - self.layer.weight.dim() + 1])
        keys = torch.rand(places, generator=self.generator)
        least = float(self.keys.min()) if len(self.keys) == self.count else -1.0
        chosen = (keys > least).nonzero()[:, 0]
        if len(chosen) > self.count:
            chosen = chosen[keys[chosen].topk(self.count).indices]
        index = torch.unravel_index(chosen, windows.shape[: windows.dim() - self.layer.weight.dim() + 1])
        self.columns = torch.cat([self.columns, windows[index].float()])
        self.keys = torch.cat([self.keys, keys[chosen]])
        if len(self.keys) > self.count:
            best = self.keys.topk(self.count).indices
            self.columns, self.keys = self.columns[best], self.keys[best]
