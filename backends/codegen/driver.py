"""Write the C that joins kernels, constants and runtime into one model: the driver, its header, its exports."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from prunus.backends.codegen.constants import ConstantBlock
from prunus.backends.codegen.features import cpu_bits
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.codegen.names import check_name
from prunus.backends.plan.program import Buffer, KernelSpec, Program, Step, Storage, View
from prunus.errors import BuildError
from prunus.targets import Target

# The numbers are part of every library's interface: append only.
DTYPES = {
    "float32": 0,
    "float16": 1,
    "float64": 2,
    "int8": 3,
    "uint8": 4,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 8,
}
EXPORTS = (
    *("create", "run", "reset", "destroy", "error", "arena_size"),
    *("input", "output", "input_count", "output_count", "step_count", "profile"),
)
# Meeting at a barrier takes about a microsecond; a step not much longer than that stays with one thread.
_LEAST_PARALLEL_CYCLES = 5000


@dataclass(frozen=True)
class Sources:
    """Texts of generated files.

    Attributes:
        header: the public NAME.h.
        driver: C11, to be compiled beside `runtime/`.
        constants: assembly that places the file constants.bin in `.rodata`.
        exports: version script of the linker.
    """

    header: str
    driver: str
    constants: str
    exports: str


@dataclass(frozen=True)
class _Call:
    symbol: str
    arguments: list[str]
    units: int
    parallel: bool
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class _Declaration:
    symbol: str
    parameters: list[str]


@dataclass(frozen=True)
class _Copy:
    output: int
    source: str
    bytes: int


def write_driver(program: Program, kernels: Mapping[KernelSpec, CompiledKernel], constants: ConstantBlock) -> Sources:
    """Write all sources of `program`.

    Raises:
        BuildError: a name that is no C identifier, a kernel that is missing, a dtype that the interface does not know.
        TargetError: the target names a feature that the library cannot check.
    """
    _check(program, kernels)
    name = program.name
    exports = [f"{name}_{export}" for export in EXPORTS]
    calls = [_call(program, step, kernels[step.kernel].symbol, constants) for step in program.steps]
    values = {
        "name": name,
        "prefix": name.upper(),
        "target": program.target,
        "max_threads": program.max_threads,
        "arena_bytes": program.arena.size_bytes,
        "dtypes": DTYPES,
        "kernels": _declarations(program, kernels),
        "calls": calls,
        "copies": _copies(program, constants),
        "needs": cpu_bits(program.target),
        "inputs": program.inputs,
        "outputs": program.outputs,
        "errors": _errors(program),
    }
    return Sources(
        header=_render("header.h.j2", values),
        driver=_render("driver.c.j2", values),
        constants=_constants_assembly(program.target, f"{name}_constants"),
        exports="{ global: " + "; ".join(exports) + "; local: *; };\n",
    )


def _check(program: Program, kernels: Mapping[KernelSpec, CompiledKernel]) -> None:
    check_name(program.name)
    for step in program.steps:
        if step.kernel not in kernels:
            raise BuildError(f"no compiled kernel for {step.kernel}")
    for tensor in (*program.inputs, *program.outputs):
        if tensor.dtype not in DTYPES:
            raise BuildError(f"{tensor.name!r} has dtype {tensor.dtype}", expected=f"one of {', '.join(DTYPES)}")


def _declarations(program: Program, kernels: Mapping[KernelSpec, CompiledKernel]) -> list[_Declaration]:
    """Prototypes of the kernels, once each; equal specs read and write the same positions."""
    found: dict[str, _Declaration] = {}
    for step in program.steps:
        types = ["void *" if position in step.writes else "const void *" for position in range(len(step.arguments))]
        scratch = ["void *"] if step.scratch_bytes else []
        symbol = kernels[step.kernel].symbol
        found.setdefault(symbol, _Declaration(symbol, [*types, *scratch, "int32_t", "int32_t"]))
    return list(found.values())


def _call(program: Program, step: Step, symbol: str, constants: ConstantBlock) -> _Call:
    arguments = [_address(program, view, constants) for view in step.arguments]
    if step.scratch_bytes:
        arena = program.arena
        arguments.append(f"frame->arena + {arena.scratch_offset} + thread * (ptrdiff_t){arena.scratch_bytes}")
    parallel = step.units > 1 and not 0 < step.cost_cycles < _LEAST_PARALLEL_CYCLES
    return _Call(symbol, arguments, step.units, parallel, step.nodes)


def _address(program: Program, view: View, constants: ConstantBlock) -> str:
    offset_bytes = view.offset * (view.buffer.size_bytes // max(view.buffer.size, 1))
    return _buffer_address(program, view.buffer, offset_bytes, constants)


def _buffer_address(program: Program, buffer: Buffer, offset_bytes: int, constants: ConstantBlock) -> str:
    match buffer.storage:
        case Storage.CONSTANT:
            return f"{program.name}_constants + {constants.offsets[buffer] + offset_bytes}"
        case Storage.ARENA:
            return f"frame->arena + {program.arena.offsets[buffer] + offset_bytes}"
        case Storage.INPUT:
            index = [tensor.buffer for tensor in program.inputs].index(buffer)
            return f"(const char *)frame->inputs[{index}] + {offset_bytes}"
        case Storage.OUTPUT:
            index = [tensor.buffer for tensor in program.outputs].index(buffer)
            return f"(char *)frame->outputs[{index}] + {offset_bytes}"


def _copies(program: Program, constants: ConstantBlock) -> list[_Copy]:
    """Outputs that are an input, a constant, or another output once more."""
    buffers = [tensor.buffer for tensor in program.outputs]
    return [
        _Copy(index, _buffer_address(program, buffer, 0, constants), buffer.size_bytes)
        for index, buffer in enumerate(buffers)
        if buffer.storage != Storage.OUTPUT or buffers.index(buffer) != index
    ]


def _constants_assembly(target: Target, symbol: str) -> str:
    kind = "%object" if target.architecture == "arm" else "@object"  # "@" starts a comment on 32-bit ARM
    stack = "%progbits" if target.architecture == "arm" else "@progbits"
    return f"""    .section .rodata
    .balign 64
    .hidden {symbol}
    .globl {symbol}
    .type {symbol}, {kind}
{symbol}:
    .incbin "constants.bin"
    .byte 0
    .size {symbol}, . - {symbol}
    .section .note.GNU-stack, "", {stack}
"""


def _errors(program: Program) -> list[str]:
    """Texts of the codes in `runtime/model.h`, by number."""
    target, name = program.target, program.name
    return [
        "No error.",
        f"This processor lacks a feature that the library was compiled for (target {target.name}: "
        f"{', '.join(sorted(target.features))}).\nExpected {target.title}, or a processor with the same features.\n"
        "Do: compile the model for the target that this processor is.",
        f"There is no memory for an instance.\nExpected {program.arena.size_bytes} free bytes.\n"
        "Do: free memory, or pass an arena of your own.",
        f"options->struct_size is too small.\nExpected sizeof({name}_options).\n"
        f"Do: start from {name}_options options = {{sizeof options}}.",
        f"options->threads is out of range.\nExpected 0 to {program.max_threads}.\n"
        "Do: ask for fewer threads, or compile with more.",
        f"The given arena is too small or not aligned.\nExpected {program.arena.size_bytes} bytes "
        f"({name}_arena_size()) at a multiple of 64.\nDo: use aligned_alloc(64, ...), or pass NULL.",
        "A worker thread could not be started.\nExpected the system to allow as many threads as options->threads.\n"
        "Do: ask for fewer threads, or raise the limit.",
        "An argument is NULL.\nExpected an instance and a pointer for every input and output.\nDo: set all of them.",
    ]


def _c_string(text: str) -> str:
    """Return `text` as a C literal; octal escapes, as hexadecimal ones swallow the digits behind them."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


def _comment(text: str) -> str:
    """Return `text` fit for a C comment."""
    return re.sub(r"[^ -~]", "?", text).replace("*/", "* /").replace("/*", "/ *")


def _render(template: str, values: dict[str, object]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"c_string": _c_string, "comment": _comment}
    return environment.get_template(template).render(values)
