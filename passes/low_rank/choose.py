"""Which factors each layer gets, if any."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prunus.compression import LowRank
from prunus.passes.graph import Graph
from prunus.passes.low_rank.embedding import EmbeddingSvd
from prunus.passes.low_rank.evidence import Evidence
from prunus.passes.low_rank.factors import Factors, Method, layer_graph, whole
from prunus.passes.low_rank.layers import Layer, Table
from prunus.passes.low_rank.plan import LayerRow
from prunus.passes.low_rank.spatial_svd import SpatialSvd
from prunus.passes.low_rank.svd import Svd
from prunus.passes.low_rank.tucker import Tucker2
from prunus.passes.prune.latency import LatencyModel


@dataclass
class Chooser:
    """Decides layer by layer; decompositions and times are kept from one error to the next.

    Attributes:
        config: what to save, and with which methods.
        evidence: by name of the node.
        latency: tells the time of a graph.
        multiple: ranks are multiples of this.
    """

    config: LowRank
    evidence: Mapping[str, Evidence]
    latency: LatencyModel
    multiple: int
    _methods: dict[str, list[Method]] = field(default_factory=dict)
    _times: dict[tuple[str, str, tuple[int, ...]], float] = field(default_factory=dict)

    def layer(self, layer: Layer, error: float) -> tuple[LayerRow, Factors | None]:
        """Return what becomes of a layer that may lose `error`."""
        before = whole(layer)
        row = LayerRow(
            layer.name, weight_name(layer), bytes_before=before.bytes, bytes_after=before.bytes,
            ms_before=self._ms(layer, before),
        )  # fmt: skip
        cuts = [factors for method in self._of(layer) if (factors := method.cut(error, self.multiple)) is not None]
        if not cuts:
            return _stays(row, f"an error of {error:.3g} takes its full rank"), None
        best = min(cuts, key=lambda factors: self._cost(layer, factors))
        return self._judge(row, best, self._ms(layer, best))

    def table(self, table: Table, error: float, ms_before: float) -> tuple[LayerRow, Factors | None]:
        """Return what becomes of a table; the time is that of the graph, and what it takes after is filled in later."""
        size = table.weight.numel() * table.weight.element_size()
        row = LayerRow(table.name, weight_name(table), bytes_before=size, bytes_after=size, ms_before=ms_before)
        if "embedding" not in self.config.methods:
            return _stays(row, "methods= leaves embeddings out"), None
        if table.name not in self._methods:
            self._methods[table.name] = [EmbeddingSvd(table, self.evidence.get(table.name, Evidence()))]
        best = self._methods[table.name][0].cut(error, self.multiple)
        if best is None:
            return _stays(row, f"an error of {error:.3g} takes its full rank"), None
        return self._judge(row, best, math.nan)

    def _of(self, layer: Layer) -> list[Method]:
        if layer.name not in self._methods:
            evidence, wanted = self.evidence.get(layer.name, Evidence()), self.config.methods
            found: list[Method] = []
            if "svd" in wanted:
                found.append(Svd(layer, evidence))
            if "spatial_svd" in wanted and SpatialSvd.suits(layer):
                found.append(SpatialSvd(layer, evidence))
            if "tucker2" in wanted and Tucker2.suits(layer):
                found.append(Tucker2(layer, evidence, by_time=self.config.save == "time"))
            self._methods[layer.name] = found
        return self._methods[layer.name]

    def _cost(self, layer: Layer, factors: Factors) -> float:
        return factors.bytes if self.config.save == "bytes" else self._ms(layer, factors)

    def _ms(self, layer: Layer, factors: Factors) -> float:
        key = (layer.name, factors.method, factors.ranks)
        if key not in self._times:
            self._times[key] = self.latency.latency_ms(layer_graph(layer, factors))
        return self._times[key]

    def _judge(self, row: LayerRow, factors: Factors, ms: float) -> tuple[LayerRow, Factors | None]:
        row = LayerRow(
            row.name, row.weight, factors.method, factors.ranks, factors.full_ranks, factors.error, row.bytes_before,
            factors.bytes, row.ms_before, ms,
        )  # fmt: skip
        why = self.too_little(row)
        return (_stays(row, why), None) if why else (row, factors)

    def too_little(self, row: LayerRow) -> str:
        """Say why what a row saves is not worth it; an empty text where it is."""
        least = 1 - self.config.least_saving
        ranks = f"{row.method} of rank {', '.join(map(str, row.ranks))} for an error of {row.error:.3g}"
        if self.config.save == "bytes" and row.bytes_after > least * row.bytes_before:
            return f"{ranks} takes {row.bytes_after:,} of {row.bytes_before:,} bytes"
        if self.config.save == "time" and row.ms_after > least * row.ms_before:
            return f"{ranks} is estimated to take {row.ms_after / row.ms_before:.0%} of the time"
        return ""


def weight_name(layer: Layer | Table) -> str:
    """Return the name of a layer's weight."""
    return str(getattr(layer.node.args[0 if isinstance(layer, Table) else 1], "target", layer.name))


def _stays(row: LayerRow, why: str) -> LayerRow:
    return LayerRow(
        row.name, row.weight, "", row.ranks, row.full_ranks, row.error, row.bytes_before, row.bytes_before,
        row.ms_before, row.ms_after, why,
    )  # fmt: skip


def graph_bytes(graph: Graph) -> int:
    """Return the bytes of all parameters and buffers."""
    tensors = {id(tensor): tensor for tensor in (*graph.parameters(), *graph.buffers())}.values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
