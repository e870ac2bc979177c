"""Why a rule did not apply: kept for the report, never printed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from torch.fx import Node


@dataclass(frozen=True)
class Reason:
    """One rule that did not apply.

    Attributes:
        node: name of the node that the rule looked at.
        text: what stood in the way, "weight is shared with 'decoder_fc'".
    """

    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.node}: {self.text}"


_collected: ContextVar[list[Reason] | None] = ContextVar("reasons", default=None)


def no(text: str, node: Node) -> Literal[False]:
    """Say why a rule does not apply to `node`; rules end in `return no("weight is shared with 'fc'", node)`."""
    reasons = _collected.get()
    if reasons is not None:
        reasons.append(Reason(node.name, text))
    return False


@contextmanager
def collect_reasons() -> Iterator[list[Reason]]:
    """Collect what `no` says within the block."""
    reasons: list[Reason] = []
    token = _collected.set(reasons)
    try:
        yield reasons
    finally:
        _collected.reset(token)
