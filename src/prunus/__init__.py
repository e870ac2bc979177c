"""Prunus: compile models into small shared libraries with a plain C interface.

>>> import prunus
>>> artifact = prunus.compile(model, target="rpi4", example_inputs=(x,))  # doctest: +SKIP
>>> artifact.save("build/")  # doctest: +SKIP

Nothing heavy is imported until it is needed: `import prunus` and `prunus.load` do without PyTorch and TVM.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunus.artifact import Artifact, load
    from prunus.compression import LowRank, Prune, Quantize
    from prunus.errors import PrunusError
    from prunus.frontend import import_model
    from prunus.passes.low_rank import low_rank
    from prunus.passes.plugins import graph_pass
    from prunus.passes.prune import prune
    from prunus.passes.quantize import quantize
    from prunus.passes.recovery import Distill
    from prunus.pipeline import compile
    from prunus.targets import Target, load_target, target_names
    from prunus.tuning import Tune

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "prunus.artifact",
    "Distill": "prunus.passes.recovery",
    "LowRank": "prunus.compression",
    "Prune": "prunus.compression",
    "PrunusError": "prunus.errors",
    "Quantize": "prunus.compression",
    "Target": "prunus.targets",
    "Tune": "prunus.tuning",
    "compile": "prunus.pipeline",
    "graph_pass": "prunus.passes.plugins",
    "import_model": "prunus.frontend",
    "load": "prunus.artifact",
    "load_target": "prunus.targets",
    "low_rank": "prunus.passes.low_rank",
    "prune": "prunus.passes.prune",
    "quantize": "prunus.passes.quantize",
    "target_names": "prunus.targets",
}

# Spelled out, and not made from the table above, so that type checkers see what is exported.
__all__ = [
    "Artifact",
    "Distill",
    "LowRank",
    "Prune",
    "PrunusError",
    "Quantize",
    "Target",
    "Tune",
    "compile",
    "graph_pass",
    "import_model",
    "load",
    "load_target",
    "low_rank",
    "prune",
    "quantize",
    "target_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'prunus' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
