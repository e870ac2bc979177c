"""Files that are not what they should be, and external data."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunus.errors import ImportModelError, PrunusError, UnsafeModel
from prunus.frontend.onnx import import_onnx
from tests.frontend.onnx.harness import case, check_model, held, model_of, noise

_WEIGHT = noise(5, 3, 3, 3)


def _convolution() -> onnx.ModelProto:
    return model_of(case("Conv", noise(1, 3, 7, 9), held(_WEIGHT)))


def _external(location: str, **entries: str) -> onnx.ModelProto:
    model = _convolution()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    return model


def test_path_bytes_and_model_are_the_same(tmp_path: Path) -> None:
    model = _convolution()
    onnx.save(model, tmp_path / "net.onnx")
    graphs = [import_onnx(given) for given in (model, model.SerializeToString(), tmp_path / "net.onnx")]
    graphs.append(import_onnx(str(tmp_path / "net.onnx")))
    assert len({str(graph.graph) for graph in graphs}) == 1


def test_the_model_is_left_as_it_is() -> None:
    model = _convolution()
    before = model.SerializeToString()
    import_onnx(model)
    assert model.SerializeToString() == before


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImportModelError, match="is no file"):
        import_onnx(tmp_path / "absent.onnx")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_truncated_file(share: float) -> None:
    data = _convolution().SerializeToString()
    with pytest.raises(UnsafeModel):
        import_onnx(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04" + bytes(range(200)), b"not a model at all"])
def test_other_files(data: bytes) -> None:
    with pytest.raises(UnsafeModel):
        import_onnx(data)


def test_too_old() -> None:
    with pytest.raises(ImportModelError, match="version 6"):
        import_onnx(model_of(case("Relu", noise(3), opset=6)))


@pytest.mark.parametrize("dims", [[2**40, 2**20], [5, 3, 3, 4], [-5, 3, 3, 3]])
def test_dimensions_that_the_bytes_do_not_fill(dims: list[int]) -> None:
    model = _convolution()
    model.graph.initializer[0].ClearField("dims")
    model.graph.initializer[0].dims.extend(dims)
    with pytest.raises(UnsafeModel, match="input_1"):
        import_onnx(model)


def test_typed_fields_are_counted() -> None:
    model = _convolution()
    model.graph.initializer[0].CopyFrom(helper.make_tensor("input_1", TensorProto.FLOAT, [5], np.zeros(5)))
    model.graph.initializer[0].ClearField("dims")
    model.graph.initializer[0].dims.extend([10**12])
    with pytest.raises(UnsafeModel, match="input_1"):
        import_onnx(model)


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("ConstantOfShape", ["shape"], ["y"])],
        [helper.make_node("Expand", ["x", "shape"], ["z"]), helper.make_node("Add", ["z", "z"], ["y"])],
        [helper.make_node("Tile", ["row", "shape"], ["y"])],
    ],
    ids=["ConstantOfShape", "Expand", "Tile"],
)
def test_constants_that_grow_without_bound(nodes: list[onnx.NodeProto]) -> None:
    constants = {
        "shape": np.array([2**20, 2**20]),
        "x": np.ones((1, 1), "float32"),
        "row": np.ones((1, 1), "float32"),
    }
    graph = helper.make_graph(
        nodes, "large", [], [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    with pytest.raises(UnsafeModel, match="bytes"):
        import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def test_external_data_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(_convolution(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert (tmp_path / "net.data").stat().st_size >= _WEIGHT.nbytes
    check_model(str(path), [noise(1, 3, 7, 9)])


def test_external_data_in_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    _WEIGHT.tofile(tmp_path / "weights" / "net.data")
    onnx.save(_external("weights/net.data"), tmp_path / "net.onnx")
    graph = import_onnx(tmp_path / "net.onnx")
    np.testing.assert_array_equal(graph.get_parameter("input_1").detach().numpy(), _WEIGHT)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "inside/../../secret", "", "link"])
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    _WEIGHT.tofile(tmp_path / "secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    onnx.save(_external(location), folder / "net.onnx")
    with pytest.raises(UnsafeModel, match="outside the model's folder"):
        import_onnx(folder / "net.onnx")


@pytest.mark.parametrize(
    "entries",
    [{"offset": "4"}, {"length": "8"}, {"offset": "-4"}, {"length": "99999999999999"}, {"offset": "four"}],
    ids=str,
)
def test_external_data_that_does_not_fit(tmp_path: Path, entries: dict[str, str]) -> None:
    _WEIGHT.tofile(tmp_path / "net.data")
    onnx.save(_external("net.data", **entries), tmp_path / "net.onnx")
    with pytest.raises(UnsafeModel, match="input_1"):
        import_onnx(tmp_path / "net.onnx")


def test_external_data_that_is_absent(tmp_path: Path) -> None:
    onnx.save(_external("net.data"), tmp_path / "net.onnx")
    with pytest.raises(UnsafeModel, match="no file"):
        import_onnx(tmp_path / "net.onnx")


def test_external_data_without_a_folder() -> None:
    with pytest.raises(UnsafeModel, match="without a folder"):
        import_onnx(_external("net.data"))


@pytest.mark.parametrize(
    ("data_type", "numbers"),
    [
        (TensorProto.FLOAT, [1.5, -2.0]),
        (TensorProto.DOUBLE, [1.5, -2.0]),
        (TensorProto.FLOAT16, [1.5, -2.0]),
        (TensorProto.BFLOAT16, [1.5, -2.0]),
        (TensorProto.INT64, [3, -(2**40)]),
        (TensorProto.INT8, [3, -7]),
        (TensorProto.UINT8, [3, 250]),
        (TensorProto.BOOL, [True, False]),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_element_types(data_type: int, numbers: list[float], raw: bool) -> None:
    tensor = helper.make_tensor("t", data_type, [2], numbers)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "t")
    graph = helper.make_graph([], "constant", [], [onnx.ValueInfoProto(name="t")], [tensor])
    (found,) = import_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))()
    assert found.tolist() == numbers


def test_types_without_a_counterpart_are_named() -> None:
    with pytest.raises(ImportModelError, match="STRING"):
        import_onnx(model_of(case("Identity", held(np.array(["word"], dtype=object)))))


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_give_an_error_of_ours_or_a_model(seed: int) -> None:
    random = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Reshape", ["r", "sizes"], ["y"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(noise(2, 1, 3, 3), "w"), numpy_helper.from_array(np.array([1, -1]), "sizes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data = bytearray(model.SerializeToString())
    for place in random.integers(0, len(data), 2):
        data[place] = random.integers(0, 256)
    with contextlib.suppress(PrunusError):
        import_onnx(bytes(data))
