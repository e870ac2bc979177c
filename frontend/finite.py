"""Refuse weights that are not numbers, before any work starts."""

import torch

from prunus.errors import ImportModelError
from prunus.passes.graph import Graph


def check_finite(graph: Graph) -> None:
    """Raise `ImportModelError` naming the weights that hold NaN; infinity is legal in buffers (attention masks).

    Args:
        graph: any imported graph.
    """
    bad = []
    for name, tensor in (*graph.named_parameters(), *graph.named_buffers()):
        if not tensor.is_floating_point():
            continue
        wrong = torch.isnan(tensor) if not isinstance(tensor, torch.nn.Parameter) else ~torch.isfinite(tensor)
        if bool(wrong.any()):
            bad.append(f"{name} ({int(wrong.sum())} of {tensor.numel()})")
    if bad:
        raise ImportModelError(
            f"weights that are not finite numbers: {', '.join(bad)}",
            expected="finite weights", do="load the checkpoint again, or look for a division by zero in training",
        )  # fmt: skip
