"""One small function for each way to compute in integers; importing this package fills the table."""

from prunus.passes.quantize.rules import arithmetic, functions, layers, moves, reductions

__all__ = ["arithmetic", "functions", "layers", "moves", "reductions"]
