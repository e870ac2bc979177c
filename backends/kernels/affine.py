"""Inputs of normalisations: what is normalised, and the weight and bias of the result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.fx import Node

from prunus.backends.kernels.family import No, Request
from prunus.backends.plan.layout import contiguous
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op


@dataclass(frozen=True)
class Parameter:
    """Weight or bias: its position among the kernel's parameters, and its strides over the loops."""

    position: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Inputs:
    """What a normalisation reads: views, the normalised one first, and constants after them.

    Weight and bias have strides over their own dimensions; None where there is none.
    """

    reads: tuple[View, ...]
    tensors: tuple[torch.Tensor, ...]
    weight: Parameter | None
    bias: Parameter | None


def read_inputs(request: Request) -> Inputs | No:
    """Return what a layer norm, RMS norm or group norm reads, or why a kernel cannot."""
    if 0 not in request.inputs:
        return No("its input is a constant")
    view = request.inputs[0]
    if math.prod(view.shape) == 0:
        return No("its input is empty")
    read = {position: request.inputs[position] for position in (2, 3) if position in request.inputs}
    packed = {position: request.constants[position] for position in (2, 3) if position in request.constants}
    if any(other.buffer.dtype != "float32" for other in (view, *read.values())):
        return No("it is not float32")
    places = {position: place for place, position in enumerate((*read, *packed), 1)}

    def parameter(position: int) -> Parameter | None:
        if position not in places:
            return None
        own = read[position].strides if position in read else contiguous(packed[position].shape)
        return Parameter(places[position], tuple(own))

    return Inputs((view, *read.values()), tuple(packed.values()), parameter(2), parameter(3))


@dataclass(frozen=True)
class Dims:
    """Dimensions of a normalisation: those that count rows, then those that are normalised together."""

    shape: tuple[int, ...]
    first: int
    groups: int = 0

    def of(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return strides over these dimensions, given those over a tensor's own: a group norm splits the channels."""
        if not self.groups:
            return tuple(strides)
        return (strides[0], strides[1] * self.shape[2], *strides[1:])

    def of_parameter(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return strides over these dimensions, given those of a weight or bias over its own."""
        if not self.groups:
            return (*[0] * self.first, *strides)
        return self.of((0, strides[0], *[0] * (len(self.shape) - 3)))


def dims_of(anchor: Node, view: View) -> Dims:
    """Return the dimensions of a normalisation; (batch, group, channel in group, spatial...) of a group norm."""
    call = arguments(anchor)
    if is_op(anchor, aten.group_norm):
        batch, channels, *spatial = view.shape
        return Dims((batch, call.num_groups, channels // call.num_groups, *spatial), 2, call.num_groups)
    return Dims(view.shape, len(view.shape) - len(call.normalized_shape))
