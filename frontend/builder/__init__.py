"""What all frontends but PyTorch's write graphs with.

`GraphBuilder` evaluates what is constant and records the rest; `arithmetic` and `windows` write what several frameworks
have in common as `torch.export` would.
"""

from prunus.frontend.builder.graph_builder import GraphBuilder, without_tracebacks
from prunus.frontend.builder.values import Value, dtype_of, normalized_axis, rank_of, scalar_of, shape_of

__all__ = [
    "GraphBuilder",
    "Value",
    "dtype_of",
    "normalized_axis",
    "rank_of",
    "scalar_of",
    "shape_of",
    "without_tracebacks",
]
