"""TVM's names for kernel emitters, loaded when the first kernel is emitted.

Planning, packing and finding kernels in the cache need no TVM, and importing it takes seconds.
"""

import importlib
from typing import Any


class _Lazy:
    """A module that is imported when one of its names is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


T: Any = _Lazy("tvm.script.ir_builder.tirx")
tvm: Any = _Lazy("tvm")
IRBuilder: Any = _Lazy("tvm.script.ir_builder")
