"""Graph to graph: everything that happens to a model before it is planned and compiled."""

from prunus.passes.check import check
from prunus.passes.decompose import decompose
from prunus.passes.dump import show
from prunus.passes.fold_batchnorm import fold_batchnorm
from prunus.passes.fuse import Group, fuse
from prunus.passes.graph import Graph
from prunus.passes.reasons import Reason, no
from prunus.passes.remove_dead_code import remove_dead_code
from prunus.passes.remove_dropout import remove_dropout
from prunus.passes.run import Pass, PassRecord, run_passes

DEFAULT: list[Pass] = [
    decompose,
    remove_dropout,
    fold_batchnorm,
    remove_dead_code,
]

__all__ = [
    "DEFAULT",
    "Graph",
    "Group",
    "Pass",
    "PassRecord",
    "Reason",
    "check",
    "decompose",
    "fold_batchnorm",
    "fuse",
    "no",
    "remove_dead_code",
    "remove_dropout",
    "run_passes",
    "show",
]
