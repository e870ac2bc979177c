"""A kernel once it is compiled."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CompiledKernel:
    """One function in one object file.

    Attributes:
        symbol: its C name, `k_` and 16 hexadecimal digits.
        object_path: the position-independent ELF object that defines it.
    """

    symbol: str
    object_path: Path
