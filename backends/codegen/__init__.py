"""Programs to shared libraries: kernels through TVM, the C driver, the link."""

from prunus.backends.codegen.cache import cache_dir
from prunus.backends.codegen.kernel import CompiledKernel

__all__ = ["CompiledKernel", "cache_dir"]
