"""Graph to graph: everything that happens to a model before it is planned and compiled."""

from prunus.passes.cancel_permutes import cancel_permutes
from prunus.passes.canonicalize_activations import canonicalize_activations
from prunus.passes.canonicalize_norms import canonicalize_norms
from prunus.passes.canonicalize_reductions import canonicalize_reductions
from prunus.passes.check import check
from prunus.passes.decompose import decompose, left_over
from prunus.passes.dump import show
from prunus.passes.fold_affine import fold_affine
from prunus.passes.fold_batchnorm import fold_batchnorm
from prunus.passes.fold_constants import fold_constants
from prunus.passes.fold_permutes import fold_permutes
from prunus.passes.fuse import Group, fuse
from prunus.passes.graph import Graph
from prunus.passes.merge_duplicates import merge_duplicates
from prunus.passes.merge_linear import merge_linear
from prunus.passes.merge_padding import merge_padding
from prunus.passes.nest_concats import nest_concats
from prunus.passes.plugins import graph_pass, with_plugins
from prunus.passes.quantize.fold_qdq import fold_qdq
from prunus.passes.reasons import Reason, no
from prunus.passes.remove_dead_code import remove_dead_code
from prunus.passes.remove_dropout import remove_dropout
from prunus.passes.remove_identities import remove_identities
from prunus.passes.run import Pass, PassRecord, run_passes
from prunus.passes.split_recurrent import split_recurrent

# One spelling for everything; batch norm and dropout stay, and parameters can still be trained.
CANONICAL: list[Pass] = [
    decompose,
    merge_duplicates,
    fold_qdq,
    merge_linear,
    fold_constants,
    remove_identities,
    canonicalize_activations,
    canonicalize_reductions,
    canonicalize_norms,
    cancel_permutes,
    fold_permutes,
    merge_padding,
]

# What only holds in evaluation mode, and what it opens up.
FOLD: list[Pass] = [
    remove_dropout,
    split_recurrent,
    fold_constants,
    fold_batchnorm,
    fold_affine,
    fold_constants,
    remove_identities,
    cancel_permutes,
    merge_padding,
    nest_concats,
    remove_dead_code,
]

DEFAULT: list[Pass] = [*CANONICAL, *FOLD]


def default_passes() -> list[Pass]:
    """Return the default chain with the passes of users and of installed packages in their places."""
    return with_plugins(DEFAULT)


__all__ = [
    "CANONICAL",
    "DEFAULT",
    "FOLD",
    "Graph",
    "Group",
    "Pass",
    "PassRecord",
    "Reason",
    "cancel_permutes",
    "canonicalize_activations",
    "canonicalize_norms",
    "canonicalize_reductions",
    "check",
    "decompose",
    "default_passes",
    "fold_affine",
    "fold_batchnorm",
    "fold_constants",
    "fold_permutes",
    "fold_qdq",
    "fuse",
    "graph_pass",
    "left_over",
    "merge_duplicates",
    "merge_linear",
    "merge_padding",
    "nest_concats",
    "no",
    "remove_dead_code",
    "remove_dropout",
    "remove_identities",
    "run_passes",
    "show",
    "split_recurrent",
]
