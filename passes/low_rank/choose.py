"""Which factors each layer gets, if any."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from prunus.compression import LowRank
from prunus.passes.graph import Graph
from prunus.passes.latency import LatencyModel
from prunus.passes.low_rank.embedding import EmbeddingSvd
from prunus.passes.low_rank.evidence import Collected
from prunus.passes.low_rank.factors import Factors, Method, layer_graph, whole
from prunus.passes.low_rank.layers import Layer, Table
from prunus.passes.low_rank.plan import LayerRow
from prunus.passes.low_rank.spatial_svd import SpatialSvd
from prunus.passes.low_rank.svd import Svd
from prunus.passes.low_rank.tucker import Tucker2

# Errors at which factors are compared by their price: a layer that loses more is better pruned.
_ERRORS = tuple(0.7 * 0.75**step for step in range(24))


@dataclass(frozen=True)
class Limit:
    """How much layers may lose: each `error`, or what each byte is worth.

    Attributes:
        error: share of the variance of a layer's outputs.
        price: instead, what may be lost for each byte, of the variance of the graph's outputs.
        within: with a price, bytes that the graph may take: what the price leaves of them goes to higher ranks.
    """

    error: float = 0.0
    price: float | None = None
    within: float = 0.0

    def lowered(self) -> "Limit":
        """Return a limit under which clearly less is lost."""
        return Limit(self.error / 2, None if self.price is None else self.price / 4)

    def __str__(self) -> str:
        return (
            f"an error of {self.error:.3g} for each layer" if self.price is None else f"{self.price:.3g} for each byte"
        )


@dataclass
class Chooser:
    """Decides layer by layer; decompositions and times are kept from one limit to the next.

    Attributes:
        config: what to save, and with which methods.
        collected: what calibration showed.
        latency: tells the time of a graph.
        multiple: ranks are multiples of this.
        sensitivity: by name of the node, what the graph's outputs lose for each share that the layer's lose.
    """

    config: LowRank
    collected: Collected
    latency: LatencyModel
    multiple: int
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    _methods: dict[str, list[Method]] = field(default_factory=dict)
    _options: dict[str, list[Factors]] = field(default_factory=dict)
    _times: dict[tuple[str, str, tuple[int, ...]], float] = field(default_factory=dict)

    def options(self, layer: Layer | Table) -> list[Factors]:
        """Return factors of all methods over a range of errors."""
        if layer.name not in self._options:
            found: dict[tuple[str, tuple[int, ...]], Factors] = {}
            for method in self._of(layer):
                for error in _ERRORS:
                    factors = method.cut(error, self.multiple)
                    if factors is None:
                        break
                    found[factors.method, factors.ranks] = factors
            self._options[layer.name] = list(found.values())
        return self._options[layer.name]

    def choose(self, layer: Layer | Table, limit: Limit) -> Factors | str:
        """Return the factors of a layer under a limit, or why it stays."""
        if not self._of(layer):
            return "methods= names none that suits it"
        if limit.price is None:
            cuts = [method.cut(limit.error, self.multiple) for method in self._of(layer)]
            found = [factors for factors in cuts if factors is not None]
            if not found:
                return f"an error of {limit.error:.3g} takes its full rank in multiples of {self.multiple}"
            return min(found, key=lambda factors: self._cost(layer, factors))
        loss, price = self.sensitivity.get(layer.name, 1.0), limit.price
        found = [factors for factors in self.options(layer) if self._saves(factors, layer)]
        best = min(found, key=lambda factors: loss * factors.error + price * factors.bytes, default=None)
        if best is None:
            return f"no rank in multiples of {self.multiple} saves bytes"
        if loss * best.error >= price * (whole(layer).bytes - best.bytes):
            return "what it saves is worth less than what it loses"
        return best

    def too_little(self, row: LayerRow) -> str:
        """Say why what a row saves is not worth it; an empty text where it is."""
        least = 1 - self.config.least_saving
        ranks = f"{row.method} of rank {', '.join(map(str, row.ranks))} (error {row.error:.3g})"
        if self.config.save == "bytes" and row.bytes_after > least * row.bytes_before:
            return f"{ranks} takes {row.bytes_after / row.bytes_before:.0%} of the bytes"
        if self.config.save == "time" and row.ms_after > least * row.ms_before:
            return f"{ranks} is estimated to take {row.ms_after / row.ms_before:.0%} of the time"
        return ""

    def row(self, layer: Layer | Table) -> LayerRow:
        """Return the row of a layer as it is."""
        size = whole(layer).bytes
        row = LayerRow(layer.name, layer.weight_name, bytes_before=size, bytes_after=size)
        return replace(row, ms_before=self.ms(layer, whole(layer))) if isinstance(layer, Layer) else row

    def ms(self, layer: Layer, factors: Factors) -> float:
        """Return the estimated time of a layer alone."""
        key = (layer.name, factors.method, factors.ranks)
        if key not in self._times:
            self._times[key] = self.latency.latency_ms(layer_graph(layer, factors))
        return self._times[key]

    def _of(self, layer: Layer | Table) -> list[Method]:
        if layer.name not in self._methods:
            self._methods[layer.name] = self._decompose(layer)
        return self._methods[layer.name]

    def _decompose(self, layer: Layer | Table) -> list[Method]:
        wanted = self.config.methods
        if isinstance(layer, Table):
            return [EmbeddingSvd(layer, self.collected.counts(layer))] if "embedding" in wanted else []
        evidence = self.collected.of(layer)
        found: list[Method] = []
        if "svd" in wanted:
            found.append(Svd(layer, evidence))
        if "spatial_svd" in wanted and SpatialSvd.suits(layer):
            found.append(SpatialSvd(layer, evidence))
        if "tucker2" in wanted and Tucker2.suits(layer):
            found.append(Tucker2(layer, evidence, by_time=self.config.save == "time"))
        return found

    def _cost(self, layer: Layer | Table, factors: Factors) -> float:
        if self.config.save == "time" and isinstance(layer, Layer):
            return self.ms(layer, factors)
        return factors.bytes

    def _saves(self, factors: Factors, layer: Layer | Table) -> bool:
        return factors.bytes <= (1 - self.config.least_saving) * whole(layer).bytes


def graph_bytes(graph: Graph) -> int:
    """Return the bytes of all parameters and buffers."""
    tensors = {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())}.values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
