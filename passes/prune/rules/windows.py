"""Pooling and resizing: channels stay, windows move along the rest."""

from types import SimpleNamespace

from prunus.passes.decompose import POOLS
from prunus.passes.graph import aten, is_op, shape
from prunus.passes.prune.atoms import Dims
from prunus.passes.prune.rules.registry import Scope, rule


@rule(*POOLS)
def window(scope: Scope, call: SimpleNamespace) -> Dims:
    spatial = 3 if is_op(scope.node, aten.max_pool3d.default, aten.avg_pool3d.default) else 2
    dims = scope.of(scope.node.all_input_nodes[0])
    for labels in dims[-spatial:]:
        scope.freeze(labels, "its window moves along this dimension")
    sizes = shape(scope.node)[-spatial:]
    return (*dims[:-spatial], *(scope.fixed(size, "its window moves along this dimension") for size in sizes))
