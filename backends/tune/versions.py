"""What a record is bound to: the templates of its family, TVM, and the facts of its target."""

import ast
import hashlib
from functools import lru_cache
from importlib import metadata, resources

from prunus.backends.codegen.compile import facts_of_kernels
from prunus.backends.kernels.family import Family
from prunus.targets import Target

_PACKAGE = "prunus.backends.kernels"


def template_version(family: Family) -> str:
    """Return a hash of the sources that write a family's kernels, its own and those that they import."""
    return _version_of(type(family).__module__)


@lru_cache(maxsize=64)
def _version_of(module: str) -> str:
    digest, done, waiting = hashlib.sha256(), set[str](), [module]
    while waiting:
        module = waiting.pop()
        if module in done or not module.startswith(f"{_PACKAGE}."):
            continue
        done.add(module)
        source = (resources.files(_PACKAGE) / f"{module.rpartition('.')[2]}.py").read_bytes()
        digest.update(source)
        imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
        # `from package import module` and `from package.module import name`, in an order that does not depend on sets.
        names = [name for node in imports for name in (node.module, *(f"{node.module}.{a.name}" for a in node.names))]
        waiting += sorted({name for name in names if name is not None and _is_module(name)}, reverse=True)
    return digest.hexdigest()[:16]


def _is_module(name: str) -> bool:
    folder, _, leaf = name.rpartition(".")
    return folder == _PACKAGE and (resources.files(_PACKAGE) / f"{leaf}.py").is_file()


@lru_cache(maxsize=1)
def tvm_version() -> str:
    """Return the version of the installed TVM."""
    return metadata.version("apache-tvm")


def target_key(target: Target) -> str:
    """Return a hash of the facts that kernels depend on: targets that differ in others share records."""
    return hashlib.sha256(repr(facts_of_kernels(target)).encode()).hexdigest()[:16]


def spec_key(family: Family, problem: object) -> str:
    """Return a hash of family, problem and epilogue."""
    return hashlib.sha256(repr((family.name, problem)).encode()).hexdigest()[:32]
