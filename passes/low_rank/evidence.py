"""What layers read on calibration inputs: the covariance of columns, or nothing at all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from prunus.errors import LowRankError
from prunus.passes.graph import Graph, inputs, shape
from prunus.passes.low_rank.layers import Layer, Table
from prunus.passes.quantize.watch import watch
from prunus.passes.recovery import Batches

# So many columns for each number of a column, and so many multiplications for the covariance of one layer, at most.
_COLUMNS, _MACS = 16, 1 << 37
# The least share of a covariance that is the same in all directions: other inputs may go where no sample went.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Evidence:
    """What one layer reads, as the moments of its columns: (I, *kernel), what one output position reads.

    Attributes:
        size: (I, *kernel).
        mean: (I, *kernel) float64; None where nothing is known, and then every input counts the same.
        covariance: (n, n) float64, n = I * kernel, divided by the number of columns.
        fourth: sum of the fourth powers of the lengths of the columns' deviations from the mean, about.
        count: columns that were seen.
    """

    size: tuple[int, ...]
    mean: Tensor | None = None
    covariance: Tensor | None = None
    fourth: float = 0.0
    count: int = 0

    @cached_property
    def shrunk(self) -> Tensor | None:
        """The covariance with a share of its mean variance in all directions, after Ledoit and Wolf 2004.

        "A well-conditioned estimator for large-dimensional covariance matrices": the share is near 1 where there are
        far fewer columns than numbers in each.
        """
        if self.covariance is None:
            return None
        size = len(self.covariance)
        identity = torch.eye(size, dtype=torch.float64)
        variance, norm = float(self.covariance.trace()) / size, float(self.covariance.square().sum())
        if variance <= 0:
            return identity
        noise = (self.fourth / self.count - norm) / self.count
        spread = norm - variance**2 * size
        share = min(1.0, max(_RIDGE, noise / spread if spread > 0 else 1.0))
        return (1 - share) * self.covariance + share * variance * identity

    @cached_property
    def root(self) -> Tensor | None:
        """R with R'R the shrunk covariance."""
        return None if self.shrunk is None else torch.linalg.cholesky(self.shrunk).t()

    def root_along(self, dims: int) -> Tensor | None:
        """Return the same for the first `dims` dimensions of columns alone, over all places of the others."""
        if self.shrunk is None:
            return None
        first, others = math.prod(self.size[:dims]), math.prod(self.size[dims:])
        blocks = self.shrunk.reshape(first, others, first, others)
        return torch.linalg.cholesky(torch.einsum("akbk->ab", blocks)).t()

    def error(self, weight: Tensor, instead: Tensor) -> float:
        """Return the share of the variance of a layer's outputs that is lost on the columns with `instead` of `weight`.

        Both are (O, I, *kernel). Without columns it is the share of the squares of the weights.
        """
        return _error(weight, instead, self.covariance)

    def expected_error(self, weight: Tensor, instead: Tensor) -> float:
        """Return what other inputs are expected to lose: the same for the shrunk covariance, where that is more."""
        return max(_error(weight, instead, self.shrunk), self.error(weight, instead))


@dataclass(frozen=True)
class Collected:
    """What calibration showed.

    Attributes:
        layers: by name of the node.
        tables: how often each row is picked, (rows,) float64, by name of the node.
    """

    layers: Mapping[str, Evidence] = field(default_factory=dict)
    tables: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, layer: Layer) -> Evidence:
        return self.layers.get(layer.name, Evidence(tuple(layer.weight.shape[1:])))

    def counts(self, table: Table) -> Tensor:
        """Return the counts of a table; every row counts as picked once more than it was."""
        return 1 + self.tables.get(table.name, torch.zeros(len(table.weight), dtype=torch.float64))


def _error(weight: Tensor, instead: Tensor, covariance: Tensor | None) -> float:
    whole, lost = (
        float(((matrix if covariance is None else matrix @ covariance) * matrix).sum())
        for matrix in (weight.double().flatten(1), (weight.double() - instead.double()).flatten(1))
    )
    return max(lost, 0.0) / whole if whole > 0 else 0.0


def collect(graph: Graph, layers: list[Layer], tables: list[Table], batches: Batches) -> Collected:
    """Run calibration samples and return what each layer reads, by the name of its node.

    Raises:
        LowRankError: NaN or infinite numbers on the way.
        InputError: samples that do not fit the graph.
    """
    generator = torch.Generator().manual_seed(0)
    runs = len(batches) / max(1, shape(inputs(graph)[0])[0])
    kept = {layer.name: _Moments(layer, runs, generator) for layer in layers}
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
    return Collected({name: moments.evidence() for name, moments in kept.items()}, counts)


class _Moments:
    """Sums over a random choice of the columns that a layer reads, all of them where there are few."""

    def __init__(self, layer: Layer, runs: float, generator: torch.Generator) -> None:
        self.layer, self.generator = layer, generator
        size = layer.weight[0].numel()
        places = math.prod(shape(layer.node)) / len(layer.weight) * runs
        self.share = min(_COLUMNS * size, _MACS / size**2) / places
        self.shift: Tensor | None = None
        self.sum, self.squares = torch.zeros(size).double(), torch.zeros(size, size).double()
        self.fourth, self.count = 0.0, 0

    def add(self, read: Tensor) -> None:
        if not bool(torch.isfinite(read).all()):
            raise LowRankError(
                f"layer {self.layer.name!r} reads NaN or infinite numbers on the calibration data",
                expected="finite activations", do="look for bad samples, or leave the layer out: keep=[...]",
            )  # fmt: skip
        windows = self.layer.windows(read)
        places = windows.shape[: windows.dim() - self.layer.weight.dim() + 1]
        if self.share < 1:
            chosen = (torch.rand(places, generator=self.generator) < self.share).nonzero(as_tuple=True)
            columns = windows[chosen].flatten(1)
        else:
            columns = windows.reshape(-1, len(self.sum))
        if not len(columns):
            return
        if self.shift is None:  # keeps sums of squares small where means are large
            self.shift = columns.mean(0)
        columns = (columns - self.shift).double()
        self.sum += columns.sum(0)
        self.squares += columns.t() @ columns
        self.fourth += float(columns.square().sum(1).square().sum())
        self.count += len(columns)

    def evidence(self) -> Evidence:
        size = tuple(self.layer.weight.shape[1:])
        if self.shift is None:
            return Evidence(size)
        mean = self.sum / self.count
        covariance = self.squares / self.count - torch.outer(mean, mean)
        return Evidence(size, (self.shift + mean).reshape(size), covariance, self.fourth, self.count)
