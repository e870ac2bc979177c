"""Random small networks over the table of operators, written as programs that a person can run again."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tests.networks import settle
from tests.random_operators import OPERATORS, Draw, Writer

# Operators and inputs, those that networks are mostly made of more often.
CHOICES = [operator for operator in OPERATORS for _ in range(operator.weight)]
KINDS = ("picture", "picture", "picture", "sequence", "sequence", "vector", "words")

# What a network may start from: an expression for each kind of input.
INPUTS = {
    "picture": "torch.randn({}, {}, {}, {})",
    "sequence": "torch.randn({}, {}, {})",
    "vector": "torch.randn({}, {})",
    "words": "torch.randint(23, ({}, {}))",
}


@dataclass(frozen=True)
class RandomNetwork:
    """One network as source text.

    Attributes:
        layers: statements of `__init__`.
        lines: statements of `forward`.
        inputs: an expression for each input.
        outputs: names of the outputs: every value that no line reads, inputs excepted.
        seed: of weights and inputs.
    """

    layers: tuple[str, ...]
    lines: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seed: int

    @property
    def source(self) -> str:
        """The class `Net` as Python source."""
        parameters = ", ".join(f"x{index}" for index in range(len(self.inputs)))
        body = ["super().__init__()", *self.layers]
        forward = [*self.lines, f"return {', '.join(self.outputs)}"]
        return "\n".join(
            [
                "class Net(nn.Module):",
                "    def __init__(self):",
                *(f"        {line}" for line in body),
                f"    def forward(self, {parameters}):",
                *(f"        {line}" for line in forward),
            ]
        )

    def build(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the network with settled weights, and inputs for it."""
        names: dict[str, object] = {"nn": nn, "F": functional, "torch": torch}
        exec(self.source, names)
        torch.manual_seed(self.seed)
        inputs = tuple(eval(expression, names) for expression in self.inputs)
        return settle(eval("Net()", names), seed=self.seed), inputs

    def __str__(self) -> str:
        return "\n".join(
            [
                "import prunus, torch",
                "from torch import nn",
                "from torch.nn import functional as F",
                "from tests.networks import settle",
                self.source,
                f"torch.manual_seed({self.seed})",
                f"inputs = ({', '.join(self.inputs)},)",
                f"net = settle(Net(), seed={self.seed})",
                "print(prunus.compile(net, target='native', example_inputs=inputs)(*inputs), net(*inputs))",
            ]
        )


@st.composite
def random_networks(draw: Draw, max_lines: int = 8) -> RandomNetwork:
    """Draw a network of up to `max_lines` operators on one or two inputs."""
    seed = draw(st.integers(0, 9999))
    sizes = {
        "picture": (st.integers(1, 2), st.integers(1, 9), st.integers(1, 17), st.integers(1, 17)),
        "sequence": (st.integers(1, 3), st.integers(1, 17), st.integers(1, 19)),
        "vector": (st.integers(1, 3), st.integers(1, 37)),
        "words": (st.integers(1, 3), st.integers(1, 13)),
    }
    inputs = []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2)):
        inputs.append(INPUTS[kind].format(*(draw(size) for size in sizes[kind])))
    writer = Writer(inputs)
    for name in [name for name in writer.values if name not in writer.numbers]:
        writer.line(f"{writer.layer(f'nn.Embedding(23, {draw(st.integers(1, 19))})')}({name})", reads=(name,))
    for operator in draw(st.lists(st.sampled_from(CHOICES), min_size=1, max_size=max_lines)):
        fitting = [name for name in writer.numbers if operator.fits(writer.values[name])]
        if fitting:
            unread = [name for name in fitting if name in writer.unread]
            operator.write(draw, writer, draw(st.sampled_from([*unread, *unread, *fitting])))
    if not writer.lines:
        writer.line("x0 + 1", reads=("x0",))
    outputs = tuple(name for name in list(writer.values)[len(inputs) :] if name in writer.unread)
    return RandomNetwork(tuple(writer.layers), tuple(writer.lines), tuple(inputs), outputs, seed)
