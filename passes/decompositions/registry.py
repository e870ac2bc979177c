"""The table of decompositions: one small function an operator."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch.fx import Node

from prunus.passes.emit import Emitter

Replacement = Node | tuple[Node, ...] | None
Rule = Callable[[Emitter, Node, SimpleNamespace], Replacement]
RULES: dict[torch._ops.OpOverload, Rule] = {}


def rule(*targets: torch._ops.OpOverload) -> Callable[[Rule], Rule]:
    """Register a decomposition of `targets`.

    The function writes nodes with `emit` and returns the one that takes the place of `node` (a tuple for an operator of
    several results), or None where `node` stays. `call` holds its arguments by name. What is written may need rules
    itself: they are applied until nothing changes.
    """

    def register(function: Rule) -> Rule:
        for target in targets:
            RULES[target] = function
        return function

    return register
