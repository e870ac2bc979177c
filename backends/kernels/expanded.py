"""Weights of four bits that become bytes in scratch before they multiply: once, where many tiles read them.

Weights of the first half of a block share their bytes with those of the second half, so a register of bytes becomes
two registers that are stored as they are.
"""

from dataclasses import dataclass

import numpy as np

from prunus.backends.kernels import nibbles
from prunus.backends.kernels.emit import Index, Memory, load, spans, store
from prunus.backends.kernels.integer_dot import WORD
from prunus.backends.kernels.tiling import Columns
from prunus.backends.kernels.tir import T
from prunus.targets import Target

_ALIGNMENT = 64
# For two registers of weights: a load, `nibbles`, two stores.
_INSTRUCTIONS = 3 + 2 * nibbles.UNPACK_INSTRUCTIONS


def bytes_at_hand(paired: bool, target: Target) -> int:
    """Return the most bytes of weights that loops over pixels may read anew; more are read block by block.

    Expanded weights are freshly written and take memory, so they get half of the first cache, others of the second.
    """
    return (target.cache.l1_bytes if paired else target.cache.l2_bytes) // 2


@dataclass(frozen=True)
class Expanded:
    """The weights of a layer in scratch.

    Attributes:
        columns: how output channels are cut into blocks.
        words: of every output channel.
        groups: of channels, each with its blocks.
        by_block: scratch holds one block at a time, else all of them.
        behind: bytes in front of them that something else takes.
    """

    columns: Columns
    words: int
    groups: int
    by_block: bool
    behind: int

    @property
    def start(self) -> int:
        """Where weights begin in scratch."""
        return -(-self.behind // _ALIGNMENT) * _ALIGNMENT

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch, with what lies in front."""
        return self.start + (self._block_bytes(tail=self.columns.full == 0) if self.by_block else self._all_bytes)

    @property
    def _all_bytes(self) -> int:
        return self.groups * self.columns.padded * self.words * WORD

    def _block_bytes(self, tail: bool) -> int:
        return sum(self.columns.widths(tail)) * self.words * WORD

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """Return the bytes of all weights, which come block by block, as half as many."""
        if not self.by_block:
            return nibbles.pack_halves(weights)
        size = self._block_bytes(tail=False)
        blocks = [np.split(group, range(size, len(group), size)) for group in weights.reshape(self.groups, -1)]
        return np.concatenate([nibbles.pack_halves(block) for group in blocks for block in group])

    def expand_all(self, stored: Memory, scratch: Memory, target: Target) -> None:
        """Write all weights to scratch, where all of them are held."""
        if not self.by_block:
            self._expand(stored, 0, scratch, self._all_bytes, target)

    def expand_block(self, stored: Memory, scratch: Memory, column: Index, target: Target, *, tail: bool) -> None:
        """Write the weights of the block that begins with a column, counted through all groups."""
        self._expand(stored, T.bind(column * (self.words * WORD // 2)), scratch, self._block_bytes(tail), target)

    def place(self, column: Index) -> Index:
        """Return where the weights of the block that begins with a column lie in scratch."""
        return self.start + (0 if self.by_block else column * (self.words * WORD))

    def _expand(self, stored: Memory, at: Index, scratch: Memory, count: int, target: Target) -> None:
        for place, lanes in spans(count // 2, target.lanes(8)):
            pairs = T.bind(load(stored, at + place, lanes))
            for half in (0, 1):
                to = self.start + half * (count // 2) + place
                store(scratch, to, nibbles.unpack(pairs, lanes, upper=half == 1), lanes)

    def cycles(self, target: Target) -> float:
        """Estimate cycles of expanding all weights once."""
        rate = max(1.0, target.fma_per_cycle / target.lanes())
        return self._all_bytes / 2 / target.lanes(8) * _INSTRUCTIONS / (2 * rate)
