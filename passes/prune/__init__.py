"""Structured pruning: whole channels, heads and hidden units leave the graph.

`rules` says of each operator which indices go together, `trace` runs the rules over a graph (`atoms` is the algebra),
`units` and `groups` find the smallest cuts and sort them, `importance` and `costs` weigh them, `greedy` orders them,
`apply` cuts, and `pruner` goes through all of it.
"""

from prunus.passes.prune.apply import apply_cut
from prunus.passes.prune.dependencies import dependency_graph
from prunus.passes.prune.groups import Group, Protected
from prunus.passes.prune.importance import MEASURES
from prunus.passes.prune.plan import Part, PrunePlan
from prunus.passes.prune.pruner import apply_plan, describe, plan_pruning, prune
from prunus.passes.prune.scene import Scene
from prunus.passes.prune.sensitivity import Sensitivity, sensitivity
from prunus.passes.prune.trace import Trace, trace

__all__ = [
    "MEASURES",
    "Group",
    "Part",
    "Protected",
    "PrunePlan",
    "Scene",
    "Sensitivity",
    "Trace",
    "apply_cut",
    "apply_plan",
    "dependency_graph",
    "describe",
    "plan_pruning",
    "prune",
    "sensitivity",
    "trace",
]
