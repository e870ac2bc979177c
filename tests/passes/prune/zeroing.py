"""The independent reference: the original graph with everything that a cut removes set to zero."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from prunus.passes.prune.apply import masks_without
from prunus.passes.prune.trace import Trace


class Zeroed(Interpreter):
    """Runs the original graph; every value is zero where the pruned graph has nothing."""

    def __init__(self, trace: Trace, cut: Iterable[int]) -> None:
        super().__init__(trace.graph)
        self.masks = masks_without(trace, cut)
        self.kept: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.op == "output":
            return result
        if isinstance(result, Tensor):
            result = self._zero(result, self.masks[n.name][0])
            self.kept[n.name] = _keep(result, self.masks[n.name][0])
        else:
            result = tuple(self._zero(one, masks) for one, masks in zip(result, self.masks[n.name], strict=True))
        return result

    def _zero(self, value: Tensor, masks: Sequence[np.ndarray]) -> Tensor:
        for dim, mask in enumerate(masks):
            if not mask.all():
                shape = [1] * value.dim()
                shape[dim] = -1
                value = torch.where(torch.from_numpy(mask).reshape(shape), value, torch.zeros_like(value))
        return value


def _keep(value: Tensor, masks: Sequence[np.ndarray]) -> Tensor:
    for dim, mask in enumerate(masks):
        value = value.index_select(dim, torch.from_numpy(mask.nonzero()[0]))
    return value
