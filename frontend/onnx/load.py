"""ONNX models from paths, bytes and protocol buffers."""

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.inliner

from prunus.errors import ImportModelError, UnsafeModel
from prunus.frontend.onnx.order import subgraphs
from prunus.frontend.onnx.table import domain_key

_OLDEST_OPSET = 7
_LARGEST_BYTES = 2**31 - 1  # what one protocol buffer can hold


@dataclass(frozen=True)
class LoadedModel:
    """A model and the folder that its external data may lie in.

    Attributes:
        opsets: version of each operator set, by domain.
    """

    proto: onnx.ModelProto
    folder: Path | None
    opsets: dict[str, int]


def load_model(model: str | Path | bytes | onnx.ModelProto) -> LoadedModel:
    """Load a model; functions that the file defines are put in where they are called.

    Raises:
        UnsafeModel: not an ONNX file, or truncated.
        ImportModelError: no such file, or operators older than version 7.
    """
    if isinstance(model, onnx.ModelProto):
        proto, folder = model, None
    elif isinstance(model, bytes):
        proto, folder = _parse(model, f"{len(model)} bytes"), None
    else:
        proto, folder = _parse(_read(Path(model)), str(model)), Path(model).resolve().parent
    opsets = {domain_key(opset.domain): opset.version for opset in proto.opset_import}
    if not proto.graph.output or not opsets:
        raise UnsafeModel(
            "the model has no outputs or names no operator sets", expected="a complete ONNX model",
            do="the file is truncated or not an ONNX model: export it again",
        )  # fmt: skip
    if opsets.get("", _OLDEST_OPSET) < _OLDEST_OPSET:
        raise ImportModelError(
            f"the model uses operators of version {opsets['']}", expected=f"version {_OLDEST_OPSET} or newer",
            do="convert it: onnx.version_converter.convert_version(model, 17)",
        )  # fmt: skip
    _check_text(proto.graph)
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    if proto.graph.sparse_initializer:
        raise ImportModelError(
            "the model has sparse initializers", expected="dense ones", do="export it without sparsity"
        )
    return LoadedModel(proto, folder, opsets)


def _check_text(graph: onnx.GraphProto) -> None:
    """Make sure that names are text: protobuf hands out damaged ones as bytes."""
    names: list[object] = [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for node in graph.node:
        names.extend((node.name, node.op_type, node.domain, *node.input, *node.output))
        names.extend(attribute.name for attribute in node.attribute)
        for inner in subgraphs(node):
            _check_text(inner)
    damaged = next((name for name in names if not isinstance(name, str)), None)
    if damaged is not None:
        raise UnsafeModel(
            f"the name {damaged!r} is not text", expected="names in UTF-8",
            do="the file is damaged: copy or export it again",
        )  # fmt: skip


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ImportModelError(f"{path} is no file", expected="an ONNX model", do="check the path")
    if path.stat().st_size > _LARGEST_BYTES:
        raise UnsafeModel(
            f"{path} has {path.stat().st_size} bytes", expected=f"at most {_LARGEST_BYTES}",
            do="save it with external data: onnx.save(model, path, save_as_external_data=True)",
        )  # fmt: skip
    return path.read_bytes()


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError, whose module has no stable name
        raise UnsafeModel(
            f"{where} does not parse as an ONNX model", expected="a complete ONNX file",
            do="the file is truncated or of another kind: copy or export it again",
        ) from error  # fmt: skip
    return proto
