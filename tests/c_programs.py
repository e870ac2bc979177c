"""Programs whose kernels are a few lines of C, for tests of everything behind the kernels."""

import dataclasses
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prunus.backends.codegen import CompiledKernel
from prunus.backends.codegen.link import write_sources
from prunus.backends.codegen.runtime import RUNTIME, RUNTIME_SOURCES
from prunus.backends.codegen.toolchain import zig_cc, zig_target
from prunus.backends.plan.program import Arena, Buffer, KernelSpec, Program, Step, Storage, Tensor, View
from prunus.targets import Target, load_target

# With a weak helper, as LLVM puts them into objects: two of them must not meet, and none may leave the library.
MULTIPLY = """
#include <stdint.h>
__attribute__((weak)) int __prunus_helper(int x) { return x + 1; }
void SYMBOL(const float *x, const float *w, float *y, int32_t begin, int32_t end)
{
    for (int32_t i = begin; i < end; i++)
        y[i] = x[i] * w[i];
}
"""

# Writes its share to scratch first: threads that shared scratch would disturb each other.
ADD_TANH = """
#include <math.h>
#include <stdint.h>
void SYMBOL(const float *x, const float *b, float *y, float *scratch, int32_t begin, int32_t end)
{
    for (int32_t repeat = 0; repeat < 20; repeat++)
        for (int32_t i = begin; i < end; i++)
            scratch[i - begin] = x[i] + b[i];
    for (int32_t i = begin; i < end; i++)
        y[i] = tanhf(scratch[i - begin]) + expf(-x[i] * x[i]);
}
"""

# One unit that reads what all threads wrote before.
SUM = """
#include <stdint.h>
void SYMBOL(const float *x, float *y, int32_t begin, int32_t end)
{
    (void)begin, (void)end;
    float sum = 0;
    for (int32_t i = 0; i < SIZE; i++)
        sum += x[i];
    y[0] = sum;
}
"""


@dataclass(frozen=True)
class CKernel:
    """The problem of a kernel spec: its C text."""

    text: str


@dataclass(frozen=True)
class Sample:
    """A program, its kernels, and what it should compute."""

    program: Program
    kernels: dict[KernelSpec, CompiledKernel]
    weight: np.ndarray
    bias: np.ndarray

    def inputs(self, seed: int = 0) -> list[np.ndarray]:
        size = self.weight.size
        return [np.random.default_rng(seed).standard_normal((1, size)).astype(np.float32)]

    def expected(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (1, size) and (1,) of what the program computes, in float64."""
        x = x.astype(np.float64)
        scaled = x * self.weight * self.weight
        y = np.tanh(scaled + self.bias) + np.exp(-scaled * scaled)
        return y, y.sum(axis=1)


def sample(
    folder: Path,
    *,
    target: str = "x86-64-v2",
    name: str = "sample",
    size: int = 1003,
    max_threads: int = 4,
    seed: int = 5,
) -> Sample:
    """Return y = tanh(x w w + b) + exp(-(x w w)^2) and its sum: four steps, three kernels, scratch, equal constants."""
    record = load_target(target)
    random = np.random.default_rng(seed)
    weight, bias = (random.standard_normal(size).astype(np.float32) for _ in range(2))
    x = Buffer("x", Storage.INPUT, "float32", size)
    w, again, b = (Buffer(name, Storage.CONSTANT, "float32", size) for name in ("w", "w_again", "b"))
    once, twice = Buffer("once", Storage.ARENA, "float32", size), Buffer("twice", Storage.ARENA, "float32", size + 16)
    y, total = Buffer("y", Storage.OUTPUT, "float32", size), Buffer("total", Storage.OUTPUT, "float32", 1)
    offset = 16  # elements: the second buffer is used from its middle on

    def view(buffer: Buffer, start: int = 0, length: int = size) -> View:
        return View(buffer, start, (length,), (1,))

    multiply, add = KernelSpec("c", CKernel(MULTIPLY), None), KernelSpec("c", CKernel(ADD_TANH), None)
    summing = KernelSpec("c", CKernel(SUM.replace("SIZE", str(size))), None)
    scratch_bytes = -(-size * 4 // 64) * 64
    steps = (
        Step(multiply, (view(x), view(w), view(once)), (2,), size, nodes=("multiply",), macs=size),
        Step(multiply, (view(once), view(again), view(twice, offset)), (2,), size, nodes=("multiply_1",), macs=size),
        Step(add, (view(twice, offset), view(b), view(y)), (2,), size, scratch_bytes, nodes=("add", "tanh */")),
        Step(summing, (view(y), view(total, 0, 1)), (1,), 1, nodes=("sum",)),
    )
    second = -(-once.size_bytes // 64) * 64
    scratch_offset = second + -(-twice.size_bytes // 64) * 64
    program = Program(
        name=name,
        target=record,
        inputs=(Tensor('x.1 "é"', "float32", (1, size), x),),
        outputs=(Tensor("y", "float32", (1, size), y), Tensor("sum", "float32", (1,), total)),
        steps=steps,
        constants={w: weight, again: weight.copy(), b: bias},
        arena=Arena(
            {once: 0, twice: second}, scratch_offset, scratch_bytes, scratch_offset + max_threads * scratch_bytes, 1
        ),
        max_threads=max_threads,
    )
    return Sample(program, compile_kernels(program, folder), weight, bias)


def compile_kernels(
    program: Program, folder: Path, *, compiler: Sequence[str] = ()
) -> dict[KernelSpec, CompiledKernel]:
    """Compile the C texts of all specs, with Zig for the program's target, or with the `compiler` given."""
    compiled: dict[KernelSpec, CompiledKernel] = {}
    for step in program.steps:
        if step.kernel in compiled:
            continue
        symbol = f"k_{len(compiled):016x}"
        source, result = folder / f"{symbol}.c", folder / f"{symbol}.o"
        assert isinstance(step.kernel.problem, CKernel)
        source.write_text(step.kernel.problem.text.replace("SYMBOL", symbol))
        arguments = ["-O2", "-fPIC", "-c", str(source), "-o", str(result)]
        if compiler:
            subprocess.run([*compiler, *arguments], check=True)
        else:
            zig_cc(zig_target(program.target), arguments)
        compiled[step.kernel] = CompiledKernel(symbol, result)
    return compiled


def compile_with_gcc(sample: Sample, main: str, folder: Path, *flags: str) -> Path:
    """Compile driver, runtime, kernels and the C text `main` into one program, without the linker of the product."""
    kernels = compile_kernels(sample.program, folder, compiler=["gcc", *flags])
    write_sources(sample.program, kernels, folder)
    (folder / "main.c").write_text(main)
    objects = {str(kernel.object_path): None for kernel in kernels.values()}
    strict = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    sources = ["main.c", "driver.c", "constants.S", *map(str, RUNTIME_SOURCES)]
    libraries = ["-lm", "-lpthread"]
    command = ["gcc", *strict, *flags, f"-I{RUNTIME}", "-I.", *sources, *objects, *libraries, "-o", "program"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "program"


def changed_target(name: str, **changes: Any) -> Target:
    """Return the record of a target with some facts changed."""
    return dataclasses.replace(load_target(name), **changes)
