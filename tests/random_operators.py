"""The table of operators that random networks are drawn from: each entry writes one line of source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

MAX_ELEMENTS = 20_000

Drawn = TypeVar("Drawn")


class Draw(Protocol):
    """Hypothesis's function that draws from a strategy."""

    def __call__(self, strategy: st.SearchStrategy[Drawn], /) -> Drawn: ...


class Writer:
    """Collects the lines of a network; runs each one, so that the next one knows the shapes."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.layers: list[str] = []
        self.lines: list[str] = []
        self._names: dict[str, Any] = {"nn": nn, "F": functional, "torch": torch, "self": nn.Module()}
        self.values: dict[str, Tensor] = {f"x{index}": eval(text, self._names) for index, text in enumerate(inputs)}
        self.unread = set(self.values)

    @property
    def numbers(self) -> dict[str, Tensor]:
        """The values that operators take: all but word numbers."""
        return {name: value for name, value in self.values.items() if value.is_floating_point()}

    def layer(self, constructor: str) -> str:
        """Add a layer to `__init__` and return its name."""
        name = f"self.layer{len(self.layers)}"
        self.layers.append(f"{name} = {constructor}")
        exec(f"{self.layers[-1]}.eval()", self._names)
        return name

    def line(self, expression: str, *, reads: Sequence[str], results: int = 1, ignored: int = 0) -> None:
        """Add an assignment of `expression` to new names; the last `ignored` results are dropped."""
        names = [f"x{len(self.values) + index}" for index in range(results)]
        left = ", ".join([*names, *["_"] * ignored])
        self.lines.append(f"{left} = {expression}")
        scope = {**self._names, **self.values}
        with torch.no_grad():
            exec(self.lines[-1], scope)
        self.values.update({name: scope[name] for name in names})
        self.unread = (self.unread - set(reads)) | set(names)


@dataclass(frozen=True)
class Operator:
    """One entry: the ranks that it takes, and how it writes itself on the value `name`."""

    title: str
    ranks: tuple[int, ...]
    write: Callable[[Draw, Writer, str], None]
    weight: int

    def fits(self, value: Tensor) -> bool:
        """Tell whether the operator takes `value`: its rank, and not yet too large."""
        return value.dim() in self.ranks and value.numel() <= MAX_ELEMENTS

    def __repr__(self) -> str:
        return self.title


OPERATORS: list[Operator] = []
ANY_RANK = (1, 2, 3, 4, 5)


def operator(*ranks: int, weight: int = 1) -> Callable[[Callable[[Draw, Writer, str], None]], None]:
    """Register the decorated function for values of `ranks` dimensions, drawn `weight` times as often as others."""

    def register(write: Callable[[Draw, Writer, str], None]) -> None:
        OPERATORS.append(Operator(write.__name__, ranks, write, weight))

    return register


@operator(*ANY_RANK, weight=3)
def activation(draw: Draw, writer: Writer, x: str) -> None:
    names = (
        "relu relu6 leaky_relu elu selu celu silu mish softplus hardswish hardsigmoid hardtanh sigmoid tanh softsign "
        "logsigmoid tanhshrink"
    )
    calls = [f"F.{name}({{}})" for name in names.split()]
    calls += ["F.gelu({})", "F.gelu({}, approximate='tanh')", "F.leaky_relu({}, 0.3)", "F.elu({}, 0.5)"]
    writer.line(draw(st.sampled_from(calls)).format(x), reads=(x,))


@operator(*ANY_RANK, weight=2)
def elementwise(draw: Draw, writer: Writer, x: str) -> None:
    calls = [
        "{}.abs()",
        "-{}",
        "{}.square()",
        "{}.abs().sqrt()",
        "(1 + {}.square()).rsqrt()",
        "(1 + {}.abs()).reciprocal()",
        "(-{}.abs()).exp()",
        "{}.abs().log1p()",
        "(1 + {}.abs()).log()",
        "{}.sin()",
        "{}.cos()",
        "{}.erf()",
        "{}.clamp(-0.7, 1.1)",
        "{}.clamp(min=-0.3)",
        "{}.abs().pow(1.5)",
        "2.5 - {} / 3",
        "0.1 * {} + 1.25",
        "torch.where({0} > 0, {0}, 0.2 * {0})",
        "{0} * torch.sigmoid(1.702 * {0})",
    ]
    writer.line(draw(st.sampled_from(calls)).format(x), reads=(x,))


@operator(*ANY_RANK, weight=3)
def binary(draw: Draw, writer: Writer, x: str) -> None:
    partners = [name for name, value in writer.numbers.items() if _broadcast(value, writer.values[x])]
    dim = draw(st.integers(0, writer.values[x].dim() - 1))
    y = draw(st.sampled_from([*partners, f"{x}.mean({dim}, keepdim=True)", f"{x}.narrow({dim}, 0, 1)"]))
    calls = ["{} + {}", "{} - {}", "{} * {}", "torch.maximum({}, {})", "torch.minimum({}, {})", "{} / (1 + {}.abs())"]
    writer.line(draw(st.sampled_from(calls)).format(x, y), reads=(x, y))


@operator(3, 4)
def prelu(draw: Draw, writer: Writer, x: str) -> None:
    count = draw(st.sampled_from([1, writer.values[x].shape[1]]))
    writer.line(f"{writer.layer(f'nn.PReLU({count})')}({x})", reads=(x,))


@operator(3, 4, weight=6)
def convolution(draw: Draw, writer: Writer, x: str) -> None:
    _, channels, *space = writer.values[x].shape
    groups = draw(st.sampled_from([1, 1, *divisors(channels)]))
    outputs = groups * draw(st.integers(1, 7 if groups < 4 else 2))
    pads = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in space]
    dilation = tuple(draw(st.integers(1, 3)) for _ in space)
    reach = [min(5, (size + sum(pad) - 1) // step + 1) for size, pad, step in zip(space, pads, dilation, strict=True)]
    kernel = tuple(draw(st.integers(1, most)) for most in reach)
    stride = tuple(draw(st.integers(1, 3)) for _ in space)
    bias = draw(st.booleans())
    symmetric = all(low == high for low, high in pads)
    padding = tuple(low for low, _ in pads) if symmetric else 0
    layer = writer.layer(
        f"nn.Conv{len(space)}d({channels}, {outputs}, {kernel}, {stride}, {padding}, {dilation}, {groups}, bias={bias})"
    )
    flat = tuple(pad for pair in reversed(pads) for pad in pair)
    writer.line(f"{layer}({x})" if symmetric else f"{layer}(F.pad({x}, {flat}))", reads=(x,))


@operator(3, 4)
def transposed_convolution(draw: Draw, writer: Writer, x: str) -> None:
    _, channels, *space = writer.values[x].shape
    groups = draw(st.sampled_from([1, *divisors(channels)]))
    outputs = groups * draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 4)) for _ in space)
    stride = tuple(draw(st.integers(1, 3)) for _ in space)
    dilation = draw(st.integers(1, 2))
    padding = tuple(draw(st.integers(0, (dilation * (size - 1)) // 2)) for size in kernel)
    extra = tuple(draw(st.integers(0, step - 1)) for step in stride)
    layer = writer.layer(
        f"nn.ConvTranspose{len(space)}d({channels}, {outputs}, {kernel}, {stride}, {padding}, {extra}, {groups}, "
        f"bias={draw(st.booleans())}, dilation={dilation})"
    )
    writer.line(f"{layer}({x})", reads=(x,))


@operator(2, 3, 4, weight=3)
def linear(draw: Draw, writer: Writer, x: str) -> None:
    inputs, outputs = writer.values[x].shape[-1], draw(st.integers(1, 37))
    writer.line(f"{writer.layer(f'nn.Linear({inputs}, {outputs}, bias={draw(st.booleans())})')}({x})", reads=(x,))


@operator(3, 4, weight=3)
def pooling(draw: Draw, writer: Writer, x: str) -> None:
    _, _, *space = writer.values[x].shape
    kernel = tuple(draw(st.integers(1, min(size, 4))) for size in space)
    stride = tuple(draw(st.integers(1, 3)) for _ in space)
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    ceil_mode = draw(st.booleans())
    if draw(st.booleans()):
        call = f"F.max_pool{len(space)}d({x}, {kernel}, {stride}, {padding}, ceil_mode={ceil_mode})"
    else:
        counts = draw(st.booleans())
        call = (
            f"F.avg_pool{len(space)}d({x}, {kernel}, {stride}, {padding}, ceil_mode={ceil_mode}, "
            f"count_include_pad={counts})"
        )
    writer.line(call, reads=(x,))


@operator(3, 4)
def adaptive_pooling(draw: Draw, writer: Writer, x: str) -> None:
    _, _, *space = writer.values[x].shape
    sizes = tuple(draw(st.integers(1, size)) for size in space)
    writer.line(f"F.adaptive_avg_pool{len(space)}d({x}, {sizes if len(sizes) > 1 else sizes[0]})", reads=(x,))


@operator(2, 3, 4)
def batch_norm(draw: Draw, writer: Writer, x: str) -> None:
    value = writer.values[x]
    kind = "2d" if value.dim() == 4 else "1d"
    writer.line(f"{writer.layer(f'nn.BatchNorm{kind}({value.shape[1]})')}({x})", reads=(x,))


@operator(2, 3, 4)
def row_norm(draw: Draw, writer: Writer, x: str) -> None:
    kind, features = draw(st.sampled_from(["LayerNorm", "RMSNorm"])), writer.values[x].shape[-1]
    writer.line(f"{writer.layer(f'nn.{kind}({features})')}({x})", reads=(x,))


@operator(3, 4)
def group_norm(draw: Draw, writer: Writer, x: str) -> None:
    channels = writer.values[x].shape[1]
    groups = draw(st.sampled_from(divisors(channels)))
    if writer.values[x][0, 0].numel() * channels > groups:
        writer.line(f"{writer.layer(f'nn.GroupNorm({groups}, {channels})')}({x})", reads=(x,))


@operator(*ANY_RANK)
def softmax(draw: Draw, writer: Writer, x: str) -> None:
    dim = draw(st.integers(0, writer.values[x].dim() - 1))
    writer.line(f"{x}.{draw(st.sampled_from(['softmax', 'log_softmax']))}({dim})", reads=(x,))


@operator(2, 3, 4, weight=2)
def reduction(draw: Draw, writer: Writer, x: str) -> None:
    axes = st.integers(0, writer.values[x].dim() - 1)
    dims = tuple(sorted(draw(st.sets(axes, min_size=1, max_size=2))))
    kind = draw(st.sampled_from(["mean", "sum", "amax", "amin"]))
    keepdim = len(dims) >= writer.values[x].dim() or draw(st.booleans())
    writer.line(f"{x}.{kind}({dims}, keepdim={keepdim})", reads=(x,))


@operator(2, 3, 4, weight=2)
def matrix_product(draw: Draw, writer: Writer, x: str) -> None:
    partners = [f"{x}.transpose(-1, -2)"]
    for name, value in writer.numbers.items():
        if value.dim() == writer.values[x].dim() and value.shape[-2] == writer.values[x].shape[-1]:
            partners += [name] if _broadcast(value[..., :1, :1], writer.values[x][..., :1, :1]) else []
    y = draw(st.sampled_from(partners))
    writer.line(f"{x} @ {y}", reads=(x, y))


@operator(3, 4)
def attention(draw: Draw, writer: Writer, x: str) -> None:
    causal = draw(st.booleans())
    writer.line(f"F.scaled_dot_product_attention({x}, {x}, {x}, is_causal={causal})", reads=(x,))


@operator(*ANY_RANK, weight=2)
def concatenate(draw: Draw, writer: Writer, x: str) -> None:
    shape = writer.values[x].shape
    dim = draw(st.integers(0, len(shape) - 1))
    fitting = [name for name, value in writer.numbers.items() if _differ_only_at(dim, value, writer.values[x])]
    names = [x, *draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2))]
    kind = "cat" if draw(st.booleans()) or any(writer.values[name].shape != shape for name in names) else "stack"
    if kind == "cat" or len(shape) < 5:
        writer.line(f"torch.{kind}([{', '.join(names)}], dim={dim})", reads=names)


@operator(*ANY_RANK)
def split(draw: Draw, writer: Writer, x: str) -> None:
    shape = writer.values[x].shape
    dim = draw(st.integers(0, len(shape) - 1))
    if shape[dim] > 1:
        first = draw(st.integers(1, shape[dim] - 1))
        writer.line(f"{x}.split(({first}, {shape[dim] - first}), dim={dim})", reads=(x,), results=2)


@operator(*ANY_RANK, weight=2)
def part(draw: Draw, writer: Writer, x: str) -> None:
    shape = writer.values[x].shape
    slices = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        stop = draw(st.integers(start + 1, size))
        slices.append(f"{start}:{stop}:{draw(st.integers(1, 3))}")
    if len(shape) > 1 and draw(st.booleans()):
        slices[draw(st.integers(0, len(shape) - 1))] = "-1"
    writer.line(f"{x}[{', '.join(slices)}]", reads=(x,))


@operator(2, 3, 4, weight=2)
def permute(draw: Draw, writer: Writer, x: str) -> None:
    writer.line(f"{x}.permute({tuple(draw(st.permutations(range(writer.values[x].dim()))))})", reads=(x,))


@operator(2, 3, 4, weight=2)
def reshape(draw: Draw, writer: Writer, x: str) -> None:
    shape = list(writer.values[x].shape)
    axis = draw(st.integers(0, len(shape) - 2))
    joined = shape[axis] * shape[axis + 1]
    if draw(st.booleans()):
        outer = draw(st.sampled_from(divisors(joined)))
        shape[axis : axis + 2] = [outer, joined // outer]
    else:
        shape[axis : axis + 2] = [joined]
    writer.line(f"{x}.reshape({tuple(shape)})", reads=(x,))


@operator(1, 2, 3)
def unsqueeze(draw: Draw, writer: Writer, x: str) -> None:
    writer.line(f"{x}.unsqueeze({draw(st.integers(0, writer.values[x].dim()))})", reads=(x,))


@operator(2, 3, 4)
def move(draw: Draw, writer: Writer, x: str) -> None:
    dim = draw(st.integers(0, writer.values[x].dim() - 1))
    writer.line(f"{x}.{draw(st.sampled_from(['flip(', 'roll(1, ', 'roll(-2, ']))}{dim})", reads=(x,))


@operator(3, 4)
def pad(draw: Draw, writer: Writer, x: str) -> None:
    _, _, *space = writer.values[x].shape
    mode = draw(st.sampled_from(["constant", "reflect", "replicate"]))
    most = [min(3, size - 1) if mode == "reflect" else 3 for size in reversed(space)]
    amounts = tuple(draw(st.integers(0, limit)) for limit in most for _ in range(2))
    value = f", value={draw(st.sampled_from([0.0, 1.5]))}" if mode == "constant" else ""
    writer.line(f"F.pad({x}, {amounts}, mode={mode!r}{value})", reads=(x,))


@operator(4)
def upsample(draw: Draw, writer: Writer, x: str) -> None:
    height, width = writer.values[x].shape[2:]
    size = (height * draw(st.integers(1, 2)) + draw(st.integers(0, 3)), width * draw(st.integers(1, 2)))
    modes = ["mode='nearest'", "mode='bilinear', align_corners=False", "mode='bilinear', align_corners=True"]
    writer.line(f"F.interpolate({x}, size={size}, {draw(st.sampled_from(modes))})", reads=(x,))


@operator(4)
def pixel_shuffle(draw: Draw, writer: Writer, x: str) -> None:
    if writer.values[x].shape[1] % 4 == 0:
        writer.line(f"F.pixel_shuffle({x}, 2)", reads=(x,))
    elif all(size % 2 == 0 for size in writer.values[x].shape[2:]):
        writer.line(f"F.pixel_unshuffle({x}, 2)", reads=(x,))


@operator(3, weight=2)
def recurrent(draw: Draw, writer: Writer, x: str) -> None:
    kind, features = draw(st.sampled_from(["GRU", "LSTM"])), writer.values[x].shape[-1]
    layer = writer.layer(
        f"nn.{kind}({features}, {draw(st.integers(1, 19))}, {draw(st.integers(1, 2))}, bias={draw(st.booleans())}, "
        f"batch_first={draw(st.booleans())}, bidirectional={draw(st.booleans())})"
    )
    writer.line(f"{layer}({x})", reads=(x,), ignored=1)


def divisors(number: int) -> list[int]:
    """Return the divisors of `number`, ascending."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _broadcast(first: Tensor, second: Tensor) -> bool:
    """Tell whether two values broadcast to no more elements than the larger one has."""
    try:
        shape = torch.broadcast_shapes(first.shape, second.shape)
    except RuntimeError:
        return False
    return shape in (first.shape, second.shape)


def _differ_only_at(dim: int, first: Tensor, second: Tensor) -> bool:
    if first.dim() != second.dim():
        return False
    return all(index == dim or a == b for index, (a, b) in enumerate(zip(first.shape, second.shape, strict=True)))
