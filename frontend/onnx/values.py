"""Results of ONNX operators."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunus.frontend.builder import Value


@dataclass(frozen=True)
class TensorSequence:
    """ONNX's list of tensors, one value."""

    items: tuple[Value, ...]


Results = Value | TensorSequence | Sequence[Value]
"""What a rule returns: its one output, or its outputs in order."""
