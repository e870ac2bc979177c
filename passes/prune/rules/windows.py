"""Pooling and resizing: channels stay, windows move along the rest."""

from types import SimpleNamespace

from prunus.passes.decompose import POOLS
from prunus.passes.graph import aten, shape
from prunus.passes.prune.atoms import Dims
from prunus.passes.prune.rules.registry import Scope, rule

_SPATIAL = {aten.max_pool3d.default: 3, aten.avg_pool3d.default: 3}


@rule(*POOLS)
def window(scope: Scope, call: SimpleNamespace) -> Dims:
    spatial = _SPATIAL.get(scope.node.target, 2)
    dims = scope.of(scope.node.all_input_nodes[0])
    for labels in dims[-spatial:]:
        scope.freeze(labels, "its window moves along this dimension")
    sizes = shape(scope.node)[-spatial:]
    return (*dims[:-spatial], *(scope.fixed(size, "its window moves along this dimension") for size in sizes))
