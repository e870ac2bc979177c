"""Write a plan into a graph: fake quantisation of activations and weights, which rounds and still has gradients."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.fake_quantization import FAKE
from prunus.passes.graph import Graph, aten, is_op, only_user, shape, tidy
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.passes.quantize.annotate import Plan
from prunus.passes.quantize.batch_norm import fold_in_training
from prunus.passes.quantize.constants import evaluate
from prunus.passes.quantize.grid import Grid, larger_scales, limits, weight_scales
from prunus.passes.quantize.kinds import Kind
from prunus.passes.quantize.lsq import STEPS, Learned, learn_activation, learn_weight
from prunus.targets import Target

LARGEST_BIAS = 2.0**30
"""Steps that a bias may take up; the other half of an int32 sum is for the products."""
TRAINED_BITS = 7
"""With so many, products with any two weights fit into int16. Scales that training moves cannot hold sums to that."""


def prepare(graph: Graph, plan: Plan, grids: Mapping[Node, Grid], *, learned: bool = False) -> Graph:
    """Round to the grids where the plan says so, in place.

    before:  x -> conv(W, b) -> relu -> y
    after:   fake(x) -> conv(fake(W), b) -> relu -> fake -> y

    Values that a float operator computes are rounded for their integer readers only.

    Args:
        grids: of the plan's values; tied values have the very same.
        learned: scales are parameters (`lsq`), else constants.
    """
    for layer, bits in plan.weight_bits.items():
        _round_weight(graph, plan, layer, bits, grids[arguments(layer).input].scale, learned)
    shared: dict[int, Learned] = {}
    for node in plan.values:
        if not is_op(node, aten.dropout.default):  # what it drops, or keeps, is rounded already
            _round_value(graph, plan, node, grids[node], shared, learned)
    return tidy(graph)


def _round_value(graph: Graph, plan: Plan, node: Node, grid: Grid, shared: dict[int, Learned], learned: bool) -> None:
    """Write one fake quantisation; tied values have one `Grid`, and read the scale of the first of them."""
    readers = set(node.users) if node in plan.kinds else {user for user in node.users if user in plan.kinds}
    emit = Emitter(graph, node.next, name=node.name)
    if id(grid) in shared:
        found = shared[id(grid)]
    elif learned:
        found = learn_activation(emit, node.name, grid, max(1, math.prod(shape(node)[1:])))
    else:
        found = _fixed(emit, node.name, torch.tensor([grid.scale]), torch.tensor([float(grid.zero_point)]))
    shared[id(grid)] = found
    rounded = emit(FAKE, node, found.scale, found.zero_point, 0, INT8_LOW, INT8_HIGH, found.factor)
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user in readers)


def _round_weight(graph: Graph, plan: Plan, layer: Node, bits: int, input_scale: float, learned: bool) -> None:
    norm = only_user(layer)
    if norm is not None and plan.kinds.get(norm) is Kind.NORM:
        fold_in_training(graph, layer, norm)
    call = arguments(layer)
    emit = Emitter(graph, layer)
    weight = evaluate(graph, call.weight)
    if learned and _saturates(plan.target):
        bits = min(bits, TRAINED_BITS)
    scales = weight_scales(weight, bits)
    if call.bias is not None:
        scales = scales.maximum(evaluate(graph, call.bias).abs().float() / (input_scale * LARGEST_BIAS))
    if not learned and _saturates(plan.target):
        scales = larger_scales(weight, scales, bits, _suits(getattr(call, "groups", 1), plan.target))
    low, high = limits(bits)
    if learned:
        found = learn_weight(emit, layer.name, scales, weight[0].numel(), high)
    else:
        found = _fixed(emit, layer.name, scales, torch.zeros(len(scales)))
    rounded = emit(FAKE, call.weight, found.scale, found.zero_point, 0, low, high, found.factor)
    layer.args = (layer.args[0], rounded, *layer.args[2:])


def _saturates(target: Target) -> bool:
    """Tell whether products of bytes are added up in int16, where those of any two weights need not fit.

    x86 without VNNI multiplies bytes with `vpmaddubsw`. The way through 16-bit multiplications is half as fast.
    """
    return target.architecture == "x86_64" and not target.has("avx512vnni")


def _suits(groups: int, target: Target) -> Callable[[Tensor], Tensor]:
    from prunus.backends.kernels.integer_weights import suit

    return lambda steps: suit(steps, groups, target)


def _fixed(emit: Emitter, name: str, scales: Tensor, zero_points: Tensor) -> Learned:
    """Write scales and zero points that training leaves alone."""
    return Learned(
        emit.constant(scales, like=f"{STEPS}.{name}_scale"),
        emit.constant(zero_points, like=f"{STEPS}.{name}_zero"),
        1.0,
    )
