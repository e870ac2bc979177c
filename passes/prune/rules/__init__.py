"""One small rule for each operator: which indices of its operands and of its result go together."""

from prunus.passes.prune.rules import elementwise, layers, norms, recurrent, reductions, views, windows
from prunus.passes.prune.rules.registry import RULES, Rule, Scope

__all__ = ["RULES", "Rule", "Scope", "elementwise", "layers", "norms", "recurrent", "reductions", "views", "windows"]
