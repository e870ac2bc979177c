"""Numbers as people read them."""

from prunus.manifest import TensorRecord


def kilobytes(count: int) -> str:
    """Return bytes in kB, of 1000 bytes."""
    return f"{count / 1000:,.1f} kB"


def millions(count: int) -> str:
    """Return a count in millions."""
    return f"{count / 1e6:,.3f} M"


def tensor(record: TensorRecord) -> str:
    """Return `x float32[1, 3, 224, 224]`."""
    return f"{record.name} {record.dtype}[{', '.join(map(str, record.shape))}]"


def plural(count: int, noun: str, several: str = "") -> str:
    """Return `1 step`, `2 steps`."""
    return f"{count} {noun if count == 1 else several or noun + 's'}"
