"""All constants of a program as one block of bytes for `.rodata`."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from prunus.backends.plan.program import Buffer, Program

ALIGNMENT = 64


@dataclass(frozen=True)
class ConstantBlock:
    """The block and the byte offset of each constant in it; equal bytes are stored once."""

    data: bytes = field(repr=False)
    offsets: dict[Buffer, int]


def pack_constants(program: Program) -> ConstantBlock:
    """Lay the constants that steps and outputs read one behind the other, each on a multiple of 64 bytes."""
    data = bytearray()
    offset_of_content: dict[bytes, int] = {}
    offsets: dict[Buffer, int] = {}
    for buffer in _read_buffers(program):
        if buffer in offsets or buffer not in program.constants:
            continue
        content = _content(buffer, program.constants[buffer])
        digest = hashlib.sha256(content).digest()
        if digest not in offset_of_content:
            data.extend(bytes(-len(data) % ALIGNMENT))
            offset_of_content[digest] = len(data)
            data.extend(content)
        offsets[buffer] = offset_of_content[digest]
    return ConstantBlock(bytes(data), offsets)


def _read_buffers(program: Program) -> list[Buffer]:
    arguments = [view.buffer for step in program.steps for view in step.arguments]
    return arguments + [tensor.buffer for tensor in program.outputs]


def _content(buffer: Buffer, array: np.ndarray) -> bytes:
    assert (array.dtype.name, array.size) == (buffer.dtype, buffer.size), f"{buffer} holds {array.dtype}, {array.size}"
    # Every target is little-endian.
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
