"""What it means for a compiled network to equal PyTorch."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Largest error of a float32 network, as a share of its largest output, and for outputs that are zero but for rounding.
TOLERANCE = 1e-4
FLOOR = 1e-6


def assert_close(module: nn.Module, inputs: Sequence[Tensor], found: Tensor | Sequence[Tensor]) -> None:
    """Compare `found` with what `module` computes in float64.

    The error may be 1e-4 of the largest output. Where PyTorch's own float32 result is further off (a normalisation of
    almost equal numbers), four times its error is allowed.
    """
    found = (found,) if isinstance(found, Tensor) else tuple(found)
    exact = run(copy.deepcopy(module).double(), [x.double() if x.is_floating_point() else x for x in inputs])
    single = run(module, inputs)
    assert len(found) == len(exact), f"{len(found)} outputs, expected {len(exact)}"
    for index, (ours, theirs, truth) in enumerate(zip(found, single, exact, strict=True)):
        assert ours.shape == truth.shape, f"output {index}: shape {tuple(ours.shape)}, expected {tuple(truth.shape)}"
        assert ours.dtype == theirs.dtype, f"output {index}: {ours.dtype}, expected {theirs.dtype}"
        if truth.numel() == 0:
            continue
        error = (ours.double() - truth).abs().max().item()
        own_error = (theirs.double() - truth).abs().max().item()
        allowed = max(TOLERANCE * truth.abs().max().item(), 4 * own_error, FLOOR)
        assert error <= allowed, f"output {index}: error {error:.3g}, allowed {allowed:.3g}"


def run(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the outputs of `module` as a flat tuple."""
    with torch.no_grad():
        result = module(*inputs)
    return (result,) if isinstance(result, Tensor) else tuple(result)
