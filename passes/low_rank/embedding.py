"""Embeddings as a narrow table and a small product behind it."""

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, get_constant
from prunus.passes.low_rank.factors import Factors, Stage, part_name, same_kind
from prunus.passes.low_rank.layers import Table

# The least that a direction counts, as a share of the one that counts most.
_RIDGE = 1e-3


class EmbeddingSvd:
    """Singular value decomposition of a table, rows weighted by how often they are picked.

    before:  embedding(T, i), T (rows, D)
    after:   linear(embedding(A, i), B), A (rows, r), B (D, r)

    With M the metric of what stands behind, and E the first eigenvectors of M^1/2 T' diag(counts) T M^1/2, these are
    A = T M^1/2 E and B = M^-1/2 E. There is no bias, so that layers behind can take B in (`absorb`).

    Args:
        table: the embedding.
        counts: (rows,) float64, how often each row is picked.
    """

    def __init__(self, table: Table, counts: Tensor) -> None:
        self.table = table
        self.into, self.back = _roots(table)
        rows = table.weight.double() @ self.into
        self.variance = float((counts[:, None] * (rows - (counts @ rows) / counts.sum()).square()).sum())
        energies, basis = torch.linalg.eigh(rows.t() @ (counts[:, None] * rows))
        self.energies, self.basis = energies.flip(0).clamp(min=0), basis.flip(1)

    def cut(self, error: float, multiple: int) -> Factors | None:
        """See `Method`."""
        ranks = range(multiple, len(self.energies), multiple)
        return next((self.at(rank) for rank in ranks if self._error(rank) <= error), None)

    def at(self, rank: int) -> Factors:
        """Return the factors of one rank."""
        wide = self.back @ self.basis[:, :rank]
        narrow = self.table.weight.double() @ self.into @ self.basis[:, :rank]
        return Factors(
            method="embedding",
            ranks=(rank,),
            full_ranks=(len(self.energies),),
            error=self._error(rank),
            stages=(Stage("narrow", narrow.float()), Stage("wide", wide.float())),
            bias=None,
        )

    def _error(self, rank: int) -> float:
        """Return what is lost as a share of the variance of the picked rows, both as the metric sees them."""
        return float(self.energies[rank:].sum()) / self.variance if self.variance > 0 else 0.0


def _roots(table: Table) -> tuple[Tensor, Tensor]:
    """Return the square root of a table's metric and its inverse; directions that nobody reads count a little."""
    size = table.weight.shape[1]
    if table.metric is None:
        return torch.eye(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(table.metric)
    scales = values.clamp(min=max(_RIDGE * float(values.max()), 1e-30)).sqrt()
    return vectors * scales @ vectors.t(), vectors / scales @ vectors.t()


def write_table(graph: Graph, node: Node, factors: Factors) -> Node:
    """Write factors in the place of an embedding and return the product."""
    call = arguments(node)
    old = get_constant(graph, call.weight)
    narrow, wide = factors.stages
    emit = Emitter(graph, node)
    table = emit.constant(same_kind(old, narrow.weight), like=part_name(str(call.weight.target), narrow.name))
    matrix = emit.constant(same_kind(old, wide.weight), like=part_name(str(call.weight.target), wide.name))
    picked = emit(aten.embedding.default, table, call.indices, call.padding_idx)
    product = emit(aten.linear.default, picked, matrix, None)
    replace(node, product)
    return node
