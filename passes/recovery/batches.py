"""Calibration inputs: samples without labels, in whatever portions users have them."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from prunus.errors import InputError
from prunus.passes.samples import as_tensors


class Batches:
    """All calibration samples, one tensor for each input of the model.

    Args:
        calibration: batches; each a tensor or numpy array, or a tuple of them for models of several inputs, with the
            samples along dimension 0.

    Raises:
        InputError: no samples, or batches that do not fit together.
    """

    def __init__(self, calibration: Iterable[Any]) -> None:
        portions = [as_tensors(batch) or () for batch in calibration]
        if not portions or not portions[0]:
            raise InputError(
                "no calibration samples", expected="some batches of inputs", do="pass calibration=[x, ...]"
            )
        try:
            self.tensors = tuple(torch.cat(list(parts)) for parts in zip(*portions, strict=True))
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"calibration batches do not fit together: {error}", expected="equal shapes") from error

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.tensors[0].shape[0])

    def ordered(self, size: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield all samples once, `size` at a time; the last portion may be smaller."""
        yield from zip(*(tensor.split(size) for tensor in self.tensors), strict=True)

    def shuffled(self, size: int, steps: int, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield `steps` batches of `size` samples (fewer where there are fewer), in a new order each time round."""
        size = min(size, len(self))
        order = torch.empty(0, dtype=torch.long)
        for _ in range(steps):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(self), generator=generator)])
            chosen, order = order[:size], order[size:]
            yield tuple(tensor[chosen] for tensor in self.tensors)
