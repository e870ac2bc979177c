"""What can be read from a compiled kernel without linking it."""

import struct
from pathlib import Path

_ALLOCATED = 0x2  # SHF_ALLOC of the ELF specification
# TVM adds these helpers to every object; the linker drops those that nobody calls.
_HELPERS = ".text.tvm"


def code_bytes(path: Path) -> int:
    """Return the bytes of code and tables that an ELF object, little-endian of 32 or 64 bits, brings into a library."""
    data = path.read_bytes()
    wide = data[4] == 2
    offset = struct.unpack_from("<Q" if wide else "<I", data, 40 if wide else 32)[0]
    entry_bytes, count, names = struct.unpack_from("<HHH", data, 58 if wide else 46)
    headers = [_header(data, offset + index * entry_bytes, wide) for index in range(count)]
    names_offset = headers[names][2]
    total = 0
    for name, flags, _, size in headers:
        start = names_offset + name
        if flags & _ALLOCATED and not data[start : data.index(0, start)].decode().startswith(_HELPERS):
            total += size
    return total


def _header(data: bytes, offset: int, wide: bool) -> tuple[int, int, int, int]:
    """Return name, flags, offset and size of a section."""
    name, _, flags, _, start, size = struct.unpack_from("<IIQQQQ" if wide else "<IIIIII", data, offset)
    return name, flags, start, size
