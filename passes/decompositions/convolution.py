"""Convolutions: `conv1d/2d/3d` and `conv_transpose1d/2d/3d` with a batch dimension and padding in numbers."""

from types import SimpleNamespace

from torch.fx import Node

from prunus.passes.arguments import per_dim
from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, shape

CONV = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
CONV_TRANSPOSE = {1: aten.conv_transpose1d.default, 2: aten.conv_transpose2d.input, 3: aten.conv_transpose3d.input}


@rule(*CONV.values(), *CONV_TRANSPOSE.values())
def batched(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """conv2d(image without batch, W, b) --> reshape(conv2d(reshape(image), W, b)); numbers one a dimension"""
    dims = len(shape(call.weight)) - 2
    batched = len(shape(call.input)) == dims + 2
    listed = {key: per_dim(sizes, dims) for key, sizes in vars(call).items() if key in SIZES}
    sizes = vars(call) | listed
    if batched and node.args == tuple(sizes.values()):
        return None
    sizes["input"] = call.input if batched else emit.reshape(call.input, [1, *shape(call.input)])
    return emit.reshape(emit(node.target, *sizes.values()), shape(node))  # type: ignore[arg-type]


SIZES = frozenset({"stride", "padding", "dilation", "output_padding"})


@rule(aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding)
def padding_in_words(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """conv2d(x, padding="same") --> conv2d(x, padding=[1, 1]), behind constant_pad_nd where the sides differ"""
    dims = len(shape(call.weight)) - 2
    dilation = per_dim(call.dilation, dims)
    total = [0] * dims
    if call.padding == "same":
        total = [step * (size - 1) for step, size in zip(dilation, shape(call.weight)[2:], strict=True)]
    x, padding = call.input, [both // 2 for both in total]
    if any(both % 2 for both in total):
        sides = [side for both in reversed(total) for side in (both // 2, both - both // 2)]
        x, padding = emit(aten.constant_pad_nd.default, x, sides, 0.0), [0] * dims
    stride = per_dim(call.stride, dims)
    return emit(CONV[dims], x, call.weight, call.bias, stride, padding, dilation, call.groups)


@rule(aten.convolution.default, aten._convolution.default)
def convolution(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """convolution(x, W, b, ..., transposed) --> conv2d or conv_transpose2d"""
    dims = len(shape(call.weight)) - 2
    first = (call.input, call.weight, call.bias, call.stride, call.padding)
    if call.transposed:
        return emit(CONV_TRANSPOSE[dims], *first, call.output_padding, call.groups, call.dilation)
    return emit(CONV[dims], *first, call.dilation, call.groups)
