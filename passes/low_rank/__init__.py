"""Low rank: weights as products of smaller ones, where that saves time or bytes.

`layers` finds what can be factorised, `evidence` keeps what each layer reads on calibration inputs, `algebra` is the
decomposition that all methods share: `svd`, `spatial_svd` and `tucker` of layers, `embedding` of tables, seen by the
layers `behind` them. `choose` decides layer by layer, `factors` writes, `absorb` takes products into layers behind
them, `outputs` measures what is lost in the end, `factorise` goes through all of it, and `plan` says what came of it.
"""

from prunus.passes.low_rank.factorise import low_rank
from prunus.passes.low_rank.plan import LayerRow, LowRankPlan

__all__ = ["LayerRow", "LowRankPlan", "low_rank"]
