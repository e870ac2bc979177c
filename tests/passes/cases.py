"""One small computation for each decomposition: what it is made of afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

VIEWS = {"reshape", "permute", "slice", "select", "expand"}
SUMS = {"add", "sub", "mul", "div"}


@dataclass(frozen=True)
class Case:
    """A computation, its inputs, and the operators that it may become beside views."""

    name: str
    function: Callable[..., object]
    inputs: Sequence[Tensor]
    operators: set[str]
    parameters: dict[str, Tensor] = field(default_factory=dict)

    @property
    def becomes(self) -> set[str]:
        return self.operators | VIEWS

    def __str__(self) -> str:
        return self.name


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def ints(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(high))


IMAGE, ROWS = randn(2, 6, 7, 5), randn(3, 7)
SQUARE = randn(1, 3, 9, 9)

CASES = [
    # splits and joins
    Case("chunk", lambda x: x.chunk(3, 1)[1], [IMAGE], set()),
    Case("split sizes", lambda x: torch.cat(x.split([1, 2, 3], 1)[::-1], 1), [IMAGE], {"cat"}),
    Case("tensor_split", lambda x: x.tensor_split(4, -2)[3], [IMAGE], set()),
    Case("unbind", lambda x: x.unbind(-1)[2], [IMAGE], set()),
    Case("stack", lambda x: torch.stack([x, x * 2], -1), [ROWS], {"cat", "mul"}),
    Case("hstack", lambda x: torch.hstack([x, x]), [ROWS], {"cat"}),
    Case("repeat", lambda x: x.repeat(2, 1, 3), [ROWS], set()),
    Case("tile", lambda x: x.tile(2), [ROWS], set()),
    Case("repeat_interleave", lambda x: x.repeat_interleave(3, 1), [ROWS], set()),
    Case("roll", lambda x: x.roll((2, -1), (2, 3)), [IMAGE], {"cat"}),
    Case("unfold", lambda x: x.unfold(1, 3, 2), [ROWS], {"cat"}),
    Case("glu", lambda x: F.glu(x, 1), [IMAGE], {"sigmoid", "mul"}),
    Case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), [randn(2, 12, 3, 5)], set()),
    Case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 3), [randn(2, 2, 6, 9)], set()),
    Case("channel_shuffle", lambda x: torch.channel_shuffle(x, 3), [IMAGE], set()),
    Case("slice_scatter", lambda x: torch.slice_scatter(x, x[:, 2:4] * 2, 1, 2, 4), [IMAGE], {"cat", "mul"}),
    Case("select_scatter", lambda x: torch.select_scatter(x, x[:, 0] * 2, 1, -1), [IMAGE], {"cat", "mul"}),
    Case("movedim", lambda x: x.movedim((0, 1), (2, 0)), [IMAGE], set()),
    Case("transpose and slice", lambda x: x.transpose(-1, 0)[..., ::2, 1:-1], [IMAGE], set()),
    # matrix products
    Case("mm", lambda x: torch.mm(x, x.t()), [ROWS], {"matmul"}),
    Case("bmm", lambda x: torch.bmm(x, x.mT), [randn(2, 3, 5)], {"matmul"}),
    Case("mv", lambda x: torch.mv(x, x[0]), [ROWS], {"matmul"}),
    Case("dot", lambda x: torch.dot(x[0], x[1]), [ROWS.abs()], {"matmul"}),  # a sum that does not cancel
    Case("matmul vector", lambda x, y: x @ y, [randn(5), randn(2, 5, 3)], {"matmul"}),
    Case("addmm", lambda x: torch.addmm(x[:, :3], x, x.t(), beta=2, alpha=3), [ROWS], {"matmul", "mul", "add"}),
    Case("baddbmm", lambda x: torch.baddbmm(x, x, x, beta=0), [randn(2, 3, 3)], {"matmul"}),
    Case("einsum", lambda x: torch.einsum("bchw,bdhw->bcd", x, x), [IMAGE], {"matmul"}),
    Case("linear vector", lambda x, w: F.linear(x, w), [randn(5)], {"linear"}, {"w": randn(3, 5)}),
    # convolutions
    Case("conv same", lambda x, w: F.conv2d(x, w, padding="same"), [IMAGE], {"conv2d", "constant_pad_nd"},
         {"w": randn(3, 6, 4, 3)}),
    Case("conv without batch", lambda x, w: F.conv1d(x, w), [randn(3, 9)], {"conv1d"}, {"w": randn(5, 3, 3)}),
    Case("convolution", lambda x, w: torch.convolution(x, w, None, [2, 1], [1, 0], [1, 2], False, [0, 0], 2), [IMAGE],
         {"conv2d"}, {"w": randn(4, 3, 3, 2)}),
    Case("transposed", lambda x, w: torch.convolution(x, w, None, [2], [1], [1], True, [1], 3), [randn(2, 6, 5)],
         {"conv_transpose1d"}, {"w": randn(6, 2, 3)}),
    # pools
    Case("max_pool1d", lambda x: F.max_pool1d(x, 3, 2, 1), [randn(2, 3, 9)], {"max_pool2d"}),
    Case("max_pool2d", lambda x: F.max_pool2d(x, 3, ceil_mode=True), [SQUARE[0]], {"max_pool2d"}),
    Case("avg_pool1d", lambda x: F.avg_pool1d(x, 3, padding=1), [randn(2, 3, 9)], {"avg_pool2d"}),
    Case("adaptive mean", lambda x: F.adaptive_avg_pool2d(x, 1), [IMAGE], {"mean"}),
    Case("adaptive equal", lambda x: F.adaptive_avg_pool2d(x, 3), [SQUARE], {"avg_pool2d"}),
    Case("adaptive uneven", lambda x: F.adaptive_avg_pool2d(x, (4, 2)), [SQUARE], {"mean", "cat"}),
    Case("adaptive larger", lambda x: F.adaptive_avg_pool1d(x, 9), [randn(2, 3, 5)], {"mean", "cat"}),
    Case("adaptive max", lambda x: F.adaptive_max_pool2d(x, (4, 9)), [SQUARE], {"amax", "cat"}),
    # norms
    Case("instance_norm", lambda x: F.instance_norm(x), [IMAGE], {"group_norm"}),
    Case("rms_norm", lambda x: F.rms_norm(x, (5,)), [IMAGE], {"rms_norm"}),
    Case("native_layer_norm", lambda x: torch.native_layer_norm(x, [5], None, None, 1e-5)[0], [IMAGE], {"layer_norm"}),
    Case("normalize", lambda x: F.normalize(x, dim=1), [IMAGE], {"mul", "sum", "sqrt", "clamp", "div"}),
    # resizing and padding
    Case("nearest", lambda x: F.interpolate(x, scale_factor=2), [IMAGE], {"upsample_nearest2d"}),
    Case("nearest1d", lambda x: F.interpolate(x, 13), [randn(2, 3, 5)], {"upsample_nearest2d"}),
    Case("linear1d", lambda x: F.interpolate(x, scale_factor=1.5, mode="linear"), [randn(2, 3, 5)],
         {"upsample_bilinear2d"}),
    Case("bilinear", lambda x: F.interpolate(x, (9, 11), mode="bilinear", align_corners=True), [IMAGE],
         {"upsample_bilinear2d"}),
    Case("nearest-exact", lambda x: F.interpolate(x, (9, 3), mode="nearest-exact"), [IMAGE], {"index_select"}),
    Case("bicubic", lambda x: F.interpolate(x, (9, 11), mode="bicubic"), [IMAGE], {"linear", "matmul"}),
    Case("antialias", lambda x: F.interpolate(x, (4, 3), mode="bilinear", antialias=True), [IMAGE],
         {"linear", "matmul"}),
    Case("pad reflect", lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"), [IMAGE], {"index_select"}),
    Case("pad replicate", lambda x: F.pad(x, (2, 1), mode="replicate"), [randn(2, 3, 5)], {"index_select"}),
    Case("pad circular", lambda x: F.pad(x, (2, 1), mode="circular"), [randn(2, 3, 5)], {"index_select", "cat"}),
    Case("pad crops", lambda x: F.pad(x, (-1, 2), value=3.0), [ROWS], {"constant_pad_nd"}),
    # indexing
    Case("index", lambda x: x[:, torch.tensor([2, -1, 0])], [ROWS], {"index_select"}),
    Case("index two", lambda x, i, j: x[:, i, j], [IMAGE, ints(6, 4), ints(7, 4)],
         {"index_select", "add", "mul", "lt", "where"}),
    Case("gather", lambda x, i: x.gather(-1, i), [ROWS, ints(7, 3, 2)], {"gather"}),
    Case("take_along_dim", lambda x, i: x.take_along_dim(i, 1), [ROWS, ints(7, 3, 2)], {"gather"}),
    Case("embedding", lambda i, w: F.embedding(i, w, 0), [ints(5, 2, 3)], {"embedding"}, {"w": randn(5, 7)}),
    Case("one_hot", lambda i: F.one_hot(i, 5), [ints(5, 2, 3)], {"eq", "_to_copy"}),
    # reductions
    Case("mean of all", lambda x: x.mean(), [ROWS], {"mean"}),
    Case("sum of integers", lambda x: x.sum(-1), [ints(9, 3, 4).int()], {"sum", "_to_copy"}),
    Case("max", lambda x: x.max(), [ROWS], {"amax"}),
    Case("max and place", lambda x: x.max(1, keepdim=True), [ROWS], {"amax", "argmax"}),
    Case("argmin of all", lambda x: x.argmin(), [ROWS], {"argmin"}),
    Case("any", lambda x: (x > 2).any(1), [ROWS], {"gt", "_to_copy", "amax"}),
    Case("all", lambda x: (x > -2).all(), [ROWS], {"gt", "_to_copy", "amin"}),
    Case("prod", lambda x: x.prod(), [ROWS], {"prod"}),
    Case("var", lambda x: x.var(1), [ROWS], {"mean", "sub", "mul"}),
    Case("std biased", lambda x: x.std((1, 2), correction=0), [IMAGE], {"mean", "sub", "mul", "sqrt"}),
    Case("var_mean", lambda x: torch.var_mean(x, 0), [ROWS], {"mean", "sub", "mul"}),
    Case("norm 1", lambda x: torch.linalg.vector_norm(x, 1, 1), [ROWS], {"abs", "sum"}),
    Case("norm inf", lambda x: torch.linalg.vector_norm(x, float("inf"), 1), [ROWS], {"abs", "amax"}),
    Case("softmax", lambda x: F.softmax(x, -1), [ROWS], {"softmax"}),
    Case("logsumexp", lambda x: x.logsumexp(1), [ROWS], {"amax", "sub", "exp", "sum", "log", "add"}),
    # element by element
    Case("alpha", lambda x: torch.add(x, x, alpha=3), [ROWS], {"add", "mul"}),
    Case("asinh", torch.asinh, [torch.tensor([0.0, 1e-7, -0.3, 2.0, -1e30, torch.inf])],
         {"sign", "mul", "log1p", "add", "div", "sqrt", "abs", "reciprocal"}),
    Case("asinh of small", torch.asinh, [1e-5 * ROWS],
         {"sign", "mul", "log1p", "add", "div", "sqrt", "abs", "reciprocal"}),
    Case("acosh", torch.acosh, [1 + ROWS.abs()], {"sub", "sqrt", "add", "mul", "log1p"}),
    Case("acosh near 1", torch.acosh, [1 + 1e-6 * ROWS.abs()], {"sub", "sqrt", "add", "mul", "log1p"}),
    Case("atanh", torch.atanh, [ROWS.tanh()], {"log1p", "neg", "sub", "mul"}),
    Case("erfc", torch.erfc, [ROWS], {"sub", "erf"}),
    Case("rsub", lambda x: 1 - x, [ROWS], {"sub"}),
    Case("mixed dtypes", lambda x, i: x * i + i / 2, [ROWS, ints(9, 3, 7)], {"mul", "add", "div", "_to_copy"}),
    Case("compare dtypes", lambda x, i: x > i, [ROWS, ints(3, 3, 7)], {"gt", "_to_copy"}),
    Case("floor_divide", lambda i: i // 4, [ints(99, 3, 4)], {"div"}),
    Case("trunc division", lambda x: torch.div(x, 0.3, rounding_mode="trunc"), [ROWS], {"div", "trunc"}),
    Case("powers", lambda x: x**2 + x**3 + x.abs() ** 0.5, [ROWS], {"mul", "add", "abs", "sqrt"}),
    Case("power of two", lambda x: 2**x, [ROWS], {"mul", "exp"}),
    Case("sqrt of integers", lambda i: i.sqrt(), [ints(9, 3)], {"sqrt", "_to_copy"}),
    Case("log10", lambda x: x.abs().log10(), [ROWS], {"abs", "log", "mul"}),
    Case("clamps", lambda x: F.relu6(x) + x.clamp_min(0) + F.hardtanh(x), [ROWS], {"clamp", "relu", "add"}),
    Case("clamp by tensors", lambda x: x.clamp(x[:1], x[1:2]), [ROWS], {"maximum", "minimum"}),
    Case("masked_fill", lambda x: x.masked_fill(x > 1, 7), [ROWS], {"gt", "where"}),
    Case("where", lambda x: torch.where(x > 0, x, 0.5), [ROWS], {"gt", "where"}),
    Case("prelu", lambda x, w: F.prelu(x, w), [IMAGE], {"gt", "mul", "where"}, {"w": randn(6)}),
    Case("prelu of one", lambda x, w: F.prelu(x, w), [IMAGE], {"leaky_relu"}, {"w": torch.tensor([0.3])}),
    Case("selu and celu", lambda x: F.selu(x) + F.celu(x, 0.7), [ROWS], {"elu", "add"}),
    Case("log_sigmoid", lambda x: F.logsigmoid(x), [ROWS], {"neg", "softplus"}),
    Case("hardshrink", lambda x: F.hardshrink(x), [ROWS], {"abs", "le", "where"}),
    Case("softshrink", lambda x: F.softshrink(x), [ROWS], SUMS | {"abs", "gt", "sign", "where"}),
    Case("addcmul and lerp", lambda x: torch.addcmul(x, x, x, value=2) + torch.lerp(x, x * 2, 0.3), [ROWS], SUMS),
    Case("logical", lambda x: torch.logical_and(x > 0, x).logical_not() | (x > 1), [ROWS],
         {"gt", "bitwise_and", "logical_not", "bitwise_or", "_to_copy"}),
    Case("isnan", lambda x: x.isnan(), [ROWS], {"ne"}),
    # constants
    Case("full", lambda x: x + torch.full((3, 1), 2.0) + torch.zeros_like(x), [ROWS], {"add"}),
    Case("arange", lambda x: x + torch.arange(7), [ROWS], {"add", "_to_copy"}),
    Case("eye", lambda x: x @ torch.eye(7), [ROWS], {"matmul"}),
]  # fmt: skip
