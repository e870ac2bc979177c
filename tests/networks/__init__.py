"""Classic networks, written from their papers; nobody tuned the compiler for them.

Each file holds one family, with its published sizes as defaults. `FAMILIES` makes the small instances for tests;
the benchmarks make the published ones.
"""

from .blocks import settle
from .families import FAMILIES

__all__ = ["FAMILIES", "settle"]
