"""Take back what rounding the weights adds to the mean of each output channel."""

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, is_op, tidy
from prunus.passes.layers import LINEAR
from prunus.passes.quantize.annotate import Plan
from prunus.passes.quantize.constants import evaluate
from prunus.passes.quantize.watch import watch
from prunus.passes.recovery import Batches


def correct_bias(original: Graph, rounded: Graph, plan: Plan, batches: Batches) -> Graph:
    """Subtract from each bias the mean error of its output channel on the calibration samples; returns `rounded`.

    before:  fake(x) -> conv(fake(W), b)
    after:   fake(x) -> conv(fake(W), b - mean(conv(x, fake(W) - W)))

    Rounding errs to one side where a channel has few weights, in depthwise layers above all (Nagel et al., "Data-free
    quantization through weight equalization and bias correction", 2019, section 4.2; here the means are measured).

    Args:
        original: the float graph.
        rounded: a copy that `prepare` has written `plan` into: values keep their names.
        plan: its nodes are those of `rounded`.
        batches: calibration samples.
    """
    twins = {node.name: node for node in original.graph.nodes}
    errors: dict[Node, _MeanError] = {}
    by_input: dict[str, list[_MeanError]] = {}
    for layer in plan.weight_bits:
        twin = twins[layer.name]
        call = arguments(twin)
        difference = evaluate(rounded, arguments(layer).weight) - evaluate(original, call.weight)
        errors[layer] = _MeanError(twin, difference)
        by_input.setdefault(call.input.name, []).append(errors[layer])

    def see(name: str, x: Tensor) -> None:
        for error in by_input[name]:
            error.add(x)

    watch(original, batches, by_input, see)
    for layer, error in errors.items():
        bias = arguments(layer).bias
        old = torch.zeros(len(error.mean)) if bias is None else evaluate(rounded, bias)
        name = f"{layer.name}_bias" if bias is None else f"{bias.target}_corrected"
        constant = Emitter(rounded, layer).constant((old.double() - error.mean).float(), like=name)
        layer.args = (*layer.args[:2], constant, *layer.args[3:])
        layer.kwargs = {key: argument for key, argument in layer.kwargs.items() if key != "bias"}
    return tidy(rounded)


class _MeanError:
    """The mean over samples and places of what a layer adds with other weights."""

    def __init__(self, layer: Node, difference: Tensor) -> None:
        self._layer, self._difference = layer, difference
        self._total, self._count = torch.zeros(len(difference), dtype=torch.float64), 0

    def add(self, x: Tensor) -> None:
        if is_op(self._layer, LINEAR):
            error = (x @ self._difference.t()).flatten(0, -2).t()
        else:
            call = arguments(self._layer)
            window = (call.stride, call.padding, call.dilation, call.groups)
            error = self._layer.target(x, self._difference, None, *window).transpose(0, 1).flatten(1)  # type: ignore[operator]
        self._total += error.double().sum(1)
        self._count += error.shape[1]

    @property
    def mean(self) -> Tensor:
        """(O,) float64."""
        return self._total / max(1, self._count)
