"""Speed of single kernels: the integer kernel of a layer against the float32 kernel of the same layer, one thread.

python -m benchmarks.integer_kernels --target native
"""

import ctypes
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import prunus.passes.operators.quantized  # noqa: F401  registers the operators
from benchmarks.machine import caption
from prunus.backends.codegen.compile import compile_kernels
from prunus.backends.kernels.integer_dot import WORD
from prunus.backends.kernels.integer_weights import suit
from prunus.backends.plan.planner import plan
from prunus.backends.plan.program import Program, Step, Storage
from prunus.frontend.importer import import_model
from prunus.passes.quantize.grid import larger_scales, to_steps, weight_scales
from prunus.targets import load_target


@dataclass(frozen=True)
class Layer:
    """One convolution of a square image; a linear layer has size 1."""

    size: int
    channels: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False

    def __str__(self) -> str:
        kind = "depthwise " if self.depthwise else ""
        step = f" stride {self.stride}" if self.stride > 1 else ""
        return f"{kind}{self.kernel}x{self.kernel}{step}, {self.size}x{self.size}, {self.channels} to {self.outputs}"

    @property
    def groups(self) -> int:
        return self.channels if self.depthwise else 1


LAYERS = (
    Layer(56, 64, 64),
    Layer(28, 128, 128),
    Layer(14, 256, 256),
    Layer(7, 512, 512),
    Layer(32, 16, 16),
    Layer(56, 64, 128, stride=2),
    Layer(112, 3, 32, stride=2),
    Layer(224, 3, 64, kernel=7, stride=2),
    Layer(28, 1, 64, kernel=5),
    Layer(56, 64, 128, kernel=1),
    Layer(56, 24, 144, kernel=1),
    Layer(14, 576, 96, kernel=1),
    Layer(7, 160, 960, kernel=1),
    Layer(1, 512, 1000, kernel=1),
    Layer(56, 144, 144, depthwise=True),
    Layer(28, 192, 192, stride=2, depthwise=True),
    Layer(14, 384, 384, depthwise=True),
    Layer(14, 240, 240, kernel=5, depthwise=True),
)


class Integer(nn.Module):
    """The layer in int8, with weights of so many bits as quantisation for the target chooses them."""

    def __init__(self, layer: Layer, bits: int, target: str) -> None:
        super().__init__()
        self.layer, machine = layer, load_target(target)
        shape = (layer.outputs, layer.channels // layer.groups, layer.kernel, layer.kernel)
        # Trained weights are bell-shaped.
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        scales = larger_scales(
            weight, weight_scales(weight, bits), bits, lambda steps: suit(steps, layer.groups, machine)
        )
        self.register_buffer("weight", to_steps(weight, scales, bits))
        self.register_buffer("bias", torch.zeros(layer.outputs, dtype=torch.int32))
        self.register_buffer("scale", torch.full((layer.outputs,), 0.02 / weight[0].numel()))

    def forward(self, x: Tensor) -> Tensor:
        layer, pad = self.layer, self.layer.kernel // 2
        step = [layer.stride, layer.stride]
        return torch.ops.prunus.qconv(
            x, self.weight, self.bias, self.scale, step, [pad, pad], [1, 1], layer.groups, 3, -5, -128, 127
        )


def integer_program(layer: Layer, bits: int, target: str) -> Program:
    """Return the program of one integer layer."""
    x = torch.zeros((1, layer.channels, layer.size, layer.size), dtype=torch.int8)
    return plan(
        import_model(Integer(layer, bits, target), example_inputs=(x,)), name="layer", target=load_target(target)
    )


def float_program(layer: Layer, target: str) -> Program:
    """Return the program of one float32 layer."""
    module = nn.Conv2d(
        layer.channels, layer.outputs, layer.kernel, layer.stride, layer.kernel // 2, groups=layer.groups
    )
    x = torch.zeros((1, layer.channels, layer.size, layer.size))
    return plan(import_model(module, example_inputs=(x,)), name="layer", target=load_target(target))


def layer_step(program: Program) -> Step:
    """Return the step that multiplies."""
    return max(program.steps, key=lambda step: step.macs)


class Kernel:
    """The compiled kernel of a program's layer, with memory of its own, ready to be called."""

    def __init__(self, program: Program, folder: Path) -> None:
        step = layer_step(program)
        compiled = compile_kernels([step.kernel], program.target)[step.kernel]
        library = folder / f"{compiled.symbol}.so"
        subprocess.run(["cc", "-shared", "-o", library, compiled.object_path, "-lm"], check=True)
        self._function = getattr(ctypes.CDLL(str(library)), compiled.symbol)
        self._memory = {}
        random = np.random.default_rng(0)
        for view in step.arguments:
            buffer = view.buffer
            if buffer.storage is Storage.CONSTANT:
                content = program.constants[buffer]
            elif buffer.dtype == "int8":
                content = random.integers(-128, 128, buffer.size).astype(np.int8)
            else:
                content = random.standard_normal(buffer.size).astype(buffer.dtype)
            self._memory[buffer] = aligned(content)
        scratch = [aligned(np.zeros(step.scratch_bytes + WORD, np.uint8))] if step.scratch_bytes else []
        pointers = [
            self._memory[view.buffer].ctypes.data + view.offset * self._memory[view.buffer].itemsize
            for view in step.arguments
        ]
        self._keep = scratch
        self._arguments = [*map(ctypes.c_void_p, [*pointers, *(array.ctypes.data for array in scratch)])]
        self._units = ctypes.c_int32(step.units)

    def __call__(self) -> None:
        self._function(*self._arguments, ctypes.c_int32(0), self._units)


def aligned(content: np.ndarray) -> np.ndarray:
    """Return a copy that starts at a multiple of 64 bytes, as the arena's buffers do."""
    content = np.ascontiguousarray(content).reshape(-1)
    room = np.empty(content.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + content.nbytes].view(content.dtype)
    copy[...] = content
    return copy


def best_seconds(kernels: list[Kernel], budget_s: float) -> list[float]:
    """Return the least time of one call of each kernel; they take turns."""
    best = [float("inf")] * len(kernels)
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end:
        for place, kernel in enumerate(kernels):
            start = time.perf_counter()
            kernel()
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def main(
    target: Annotated[str, typer.Option(help="A target that this machine runs.")] = "native",
    bits: Annotated[int, typer.Option(help="Bits of the weights.")] = 8,
    seconds: Annotated[float, typer.Option(help="Seconds of measuring for each layer.")] = 0.3,
) -> None:
    """Print 10^9 operations (two for each multiply-accumulate) a second, of int8 and of float32."""
    table = Table(title="GOP/s", caption=caption(target=target, bits=bits, threads=1))
    for column in ("layer", "int8", "float32", "ratio", "kernel"):
        table.add_column(column, justify="left" if column in ("layer", "kernel") else "right")
    with tempfile.TemporaryDirectory() as folder:
        for layer in LAYERS:
            programs = [integer_program(layer, bits, target), float_program(layer, target)]
            times = best_seconds([Kernel(program, Path(folder)) for program in programs], seconds)
            step = layer_step(programs[0])
            rates = [f"{2 * step.macs / t / 1e9:.0f}" for t in times]
            table.add_row(str(layer), *rates, f"{times[1] / times[0]:.2f}", str(step.kernel.knob))
    Console(width=160).print(table)


if __name__ == "__main__":
    typer.run(main)
