"""Tensors of a file as PyTorch tensors; sizes are checked against the bytes that are there before memory is taken."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import AttributeProto, TensorProto

from prunus.errors import ImportModelError, UnsafeModel

DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}
_TYPED_FIELDS = {
    TensorProto.FLOAT: ("float_data", torch.float32),
    TensorProto.DOUBLE: ("double_data", torch.float64),
    TensorProto.INT64: ("int64_data", torch.int64),
}
_BITS_IN_INT32 = {TensorProto.FLOAT16, TensorProto.BFLOAT16}


def torch_dtype(data_type: int, where: str) -> torch.dtype:
    """Return PyTorch's dtype for an ONNX element type.

    Raises:
        ImportModelError: a type that PyTorch does not compute with.
    """
    if data_type not in DTYPES:
        known = TensorProto.DataType.values()
        name = TensorProto.DataType.Name(data_type) if data_type in known else f"number {data_type}"
        names = ", ".join(TensorProto.DataType.Name(key) for key in DTYPES)
        raise ImportModelError(
            f"{where} has element type {name}", expected=f"one of {names}", do="cast it in the model"
        )
    return DTYPES[data_type]


@dataclass(frozen=True)
class TensorReader:
    """Reads tensors and attributes.

    Attributes:
        folder: where external data may lie; None for a model that did not come from a file.
    """

    folder: Path | None

    def read(self, proto: onnx.TensorProto) -> torch.Tensor:
        """Return the tensor in memory of its own.

        Raises:
            UnsafeModel: dimensions and bytes disagree, or external data is not a plain part of a file in the folder.
        """
        where = f"tensor {proto.name!r}"
        dtype = torch_dtype(proto.data_type, where)
        if any(size < 0 for size in proto.dims):
            raise UnsafeModel(f"{where} has negative dimensions {tuple(proto.dims)}", do="export the model again")
        count = math.prod(proto.dims)
        expected_bytes = count * dtype.itemsize
        if proto.data_location == TensorProto.EXTERNAL:
            data = self._external(proto, where, expected_bytes)
        elif proto.HasField("raw_data"):
            data = proto.raw_data
        else:
            return _from_typed_field(proto, where, dtype, count)
        if len(data) != expected_bytes:
            raise _wrong_size(where, tuple(proto.dims), dtype, expected_bytes, len(data))
        if count == 0:
            return torch.empty(tuple(proto.dims), dtype=dtype)
        return torch.frombuffer(bytearray(data), dtype=dtype).reshape(tuple(proto.dims))

    def attribute(self, attribute: onnx.AttributeProto) -> Any:
        """Return the value of an attribute: strings decoded, tensors read, graphs as they are."""
        if attribute.type == AttributeProto.TENSOR:
            return self.read(attribute.t)
        held = onnx.helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.STRING:
            return held.decode("utf-8", "replace")
        if attribute.type == AttributeProto.STRINGS:
            return [text.decode("utf-8", "replace") for text in held]
        return held if not isinstance(held, (tuple, list)) else list(held)

    def _external(self, proto: onnx.TensorProto, where: str, expected_bytes: int) -> bytes:
        entries = {entry.key: entry.value for entry in proto.external_data}
        path = self._inside(entries.get("location", ""), where)
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", expected_bytes))
        except ValueError as error:
            raise UnsafeModel(
                f"{where} has an offset or length that is no number", do="export the model again"
            ) from error
        size_bytes = path.stat().st_size
        if offset < 0 or length != expected_bytes or offset + length > size_bytes:
            raise UnsafeModel(
                f"{where} asks for {length} bytes at {offset} of {path.name}, which has {size_bytes}",
                expected=f"{expected_bytes} bytes inside the file", do="copy the data file beside the model again",
            )  # fmt: skip
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def _inside(self, location: str, where: str) -> Path:
        """Return the data file if it lies in the model's folder, links followed."""
        if self.folder is None:
            raise UnsafeModel(
                f"{where} lies in the external file {location!r}, and the model came without a folder",
                expected="a path to the model", do="pass the path, or load the data with onnx.load first",
            )  # fmt: skip
        path = self.folder / location
        inside = not Path(location).is_absolute() and ".." not in Path(location).parts
        if not location or not inside or not path.resolve().is_relative_to(self.folder.resolve()):
            raise UnsafeModel(
                f"{where} lies in {location!r}, outside the model's folder",
                expected="external data beside the model", do="put the data into the model's folder and save it again",
            )  # fmt: skip
        if not path.is_file():
            raise UnsafeModel(
                f"{where} lies in {location!r}, which is no file", expected="the data file beside the model",
                do="copy it there",
            )  # fmt: skip
        return path


def _from_typed_field(proto: onnx.TensorProto, where: str, dtype: torch.dtype, count: int) -> torch.Tensor:
    name, stored = _TYPED_FIELDS.get(proto.data_type, ("int32_data", torch.int32))
    field = getattr(proto, name)
    if len(field) != count:
        raise _wrong_size(where, tuple(proto.dims), dtype, count * dtype.itemsize, len(field) * dtype.itemsize)
    tensor = torch.tensor(field, dtype=stored)
    if proto.data_type in _BITS_IN_INT32:
        return tensor.to(torch.int16).view(dtype).reshape(tuple(proto.dims))
    return tensor.to(dtype).reshape(tuple(proto.dims))


def _wrong_size(where: str, dims: tuple[int, ...], dtype: torch.dtype, expected: int, found: int) -> UnsafeModel:
    return UnsafeModel(
        f"{where} has {found} bytes for dimensions {dims} of {dtype}", expected=f"{expected} bytes",
        do="the file is truncated or damaged: export it again",
    )  # fmt: skip
