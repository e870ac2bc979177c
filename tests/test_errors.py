"""What users see when something is wrong: through the public calls, and through the command line."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from typer.testing import CliRunner

import prunus
from prunus.cli import app
from prunus.errors import (
    DynamicShape,
    ImportModelError,
    InputError,
    MissingInputs,
    OutputError,
    PassError,
    PrunusError,
    TargetError,
    UnsafeModel,
    UnsupportedOperators,
)


def tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(
    nodes: list[onnx.NodeProto], *weights: onnx.TensorProto, shape: tuple[int | str, ...] = (1, 4)
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", [tensor("x", *shape)], [tensor("y", *shape)], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def relu(source: str = "x", result: str = "y") -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [result])


def external_weight(location: str) -> onnx.TensorProto:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    return weight


def truncated(folder: Path) -> Path:
    data = model([relu()], onnx.numpy_helper.from_array(np.zeros(99, np.float32), "w")).SerializeToString()
    path = folder / "model.onnx"
    path.write_bytes(data[: len(data) // 2])
    return path


def escaping(folder: Path) -> Path:
    (folder / "secret").write_bytes(bytes(16))
    inner = folder / "inner"
    inner.mkdir()
    path = inner / "model.onnx"
    add = helper.make_node("Add", ["x", "w"], ["y"])
    path.write_bytes(model([add], external_weight("../secret")).SerializeToString())
    return path


def cyclic(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(
        model([helper.make_node("Add", ["x", "b"], ["a"]), relu("a", "b"), relu("b", "y")]).SerializeToString()
    )
    return path


def not_a_number(folder: Path) -> Path:
    weight = onnx.numpy_helper.from_array(np.array([0, np.nan, 0, 0], np.float32), "w")
    path = folder / "model.onnx"
    path.write_bytes(model([helper.make_node("Add", ["x", "w"], ["y"])], weight).SerializeToString())
    return path


def unknown_operators(folder: Path) -> Path:
    path = folder / "model.onnx"
    nodes = [helper.make_node("Zap", ["x"], ["a"], name="first"), helper.make_node("Zip", ["a"], ["y"], name="second")]
    path.write_bytes(model(nodes).SerializeToString())
    return path


def symbolic(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model([relu()], shape=("batch", 4)).SerializeToString())
    return path


def absent(folder: Path) -> Path:
    return folder / "model.onnx"


BROKEN: list[tuple[Callable[[Path], Path], type[PrunusError], tuple[str, ...]]] = [
    (truncated, UnsafeModel, ("truncated",)),
    (escaping, UnsafeModel, ("../secret", "model's folder")),
    (cyclic, ImportModelError, ("cycle",)),
    (not_a_number, ImportModelError, ("1 of 4", "finite")),
    (unknown_operators, UnsupportedOperators, ("Zap", "Zip", "first", "second")),
    (symbolic, DynamicShape, ("batch", "input_shapes")),
    (absent, ImportModelError, ("model.onnx", "check the path")),
]


@pytest.mark.parametrize(("make", "kind", "words"), BROKEN, ids=[make.__name__ for make, _, _ in BROKEN])
def test_broken_files(
    make: Callable[[Path], Path], kind: type[PrunusError], words: tuple[str, ...], tmp_path: Path
) -> None:
    path, output = make(tmp_path), tmp_path / "output"
    with pytest.raises(PrunusError) as caught:
        prunus.compile(path, name="broken")
    assert type(caught.value) is kind
    check_message(caught.value, *words)

    result = CliRunner().invoke(app, ["compile", str(path), "--name", "broken", "--output", str(output)])
    assert result.exit_code == 1
    assert kind.__name__ in result.output
    assert "Traceback" not in result.output
    assert not output.exists()


def check_message(error: PrunusError, *words: str) -> None:
    """Check that a message says what was found and what to do or to expect."""
    assert error.found
    assert error.do or error.expected
    for word in words:
        assert word in str(error), f"{word!r} is not in {error}"


def test_module_without_example_inputs() -> None:
    with pytest.raises(MissingInputs) as caught:
        prunus.compile(nn.Linear(4, 4))
    check_message(caught.value, "Linear", "example_inputs=(")


def test_weights_that_are_no_numbers() -> None:
    module = nn.Linear(4, 4)
    with torch.no_grad():
        module.weight[1, 2] = torch.nan
    with pytest.raises(ImportModelError) as caught:
        prunus.compile(module, example_inputs=(torch.zeros(1, 4),))
    check_message(caught.value, "weight", "1 of 16")


def test_module_that_branches_on_values() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ImportModelError) as caught:
        prunus.compile(Branching(), example_inputs=(torch.zeros(1, 4),))
    check_message(caught.value, "Branching", "torch.export")


def test_something_that_is_no_model() -> None:
    with pytest.raises(ImportModelError) as caught:
        prunus.compile(object())
    check_message(caught.value, "object", "ExportedProgram")


@pytest.mark.parametrize(("name", "near"), [("rpi44", "'rpi4'"), ("raspberry", ""), ("x86-64", "'x86-64-v")])
def test_unknown_target(name: str, near: str) -> None:
    with pytest.raises(TargetError) as caught:
        prunus.compile(nn.Linear(4, 4), target=name, example_inputs=(torch.zeros(1, 4),))
    check_message(caught.value, name, near)


@pytest.mark.parametrize("text", ["not toml [", 'title = "no more"'])
def test_bad_target_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(TargetError) as caught:
        prunus.load_target(tmp_path / "mine.toml")
    check_message(caught.value, "mine", "fields")


def test_absent_target_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError) as caught:
        prunus.load_target(tmp_path / "mine.toml")
    check_message(caught.value, "mine.toml")


def test_pass_that_changes_the_outputs() -> None:
    def halve(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
        for parameter in graph.parameters():
            parameter.data = parameter.data / 2
        return graph

    with pytest.raises(PassError) as caught:
        prunus.compile(nn.Linear(4, 4), example_inputs=(torch.ones(1, 4),), passes=[halve])
    check_message(caught.value, "halve")


@pytest.fixture(scope="module")
def linear() -> prunus.Artifact:
    return prunus.compile(nn.Linear(4, 3), example_inputs=(torch.zeros(2, 4),), name="linear")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((), ("0 inputs", "1: ")),
        ((np.zeros((2, 4), np.float32),) * 2, ("2 inputs",)),
        ((np.zeros((2, 5), np.float32),), ("(2, 5)", "(2, 4)")),
        ((np.zeros((1, 2, 4), np.float32),), ("(1, 2, 4)", "(2, 4)")),
        ((np.zeros((2, 4)),), ("float64", "float32", "astype")),
        ((torch.zeros(2, 4, dtype=torch.int64),), ("int64", "float32", ".to(torch.float32)")),
        (([[0.0] * 4] * 2,), ("list", "numpy array")),
    ],
)
def test_wrong_inputs(linear: prunus.Artifact, inputs: tuple[object, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        linear(*inputs)
    check_message(caught.value, *words)


def test_wrong_inputs_on_the_command_line(linear: prunus.Artifact, tmp_path: Path) -> None:
    linear.save(tmp_path / "linear")
    np.save(tmp_path / "x.npy", np.zeros((2, 5), np.float32))
    command = ["run", str(tmp_path / "linear"), "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "float32 of shape (2, 5)" in result.output
    assert not (tmp_path / "y.npy").exists()


def test_output_folder_that_is_a_file(linear: prunus.Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError) as caught:
        linear.save(tmp_path / "file")
    check_message(caught.value, "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 kB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(linear: prunus.Artifact, tiny_disk: Path) -> None:
    with pytest.raises(OutputError) as caught:
        linear.save(tiny_disk / "linear")
    check_message(caught.value, "No space left on device", "free space")
    assert list(tiny_disk.iterdir()) == []


def test_full_disk_on_the_command_line(linear: prunus.Artifact, tiny_disk: Path, tmp_path: Path) -> None:
    linear.save(tmp_path / "linear")
    (tiny_disk / "filler").write_bytes(bytes(16 * 1024))
    output = tiny_disk / "y.npz"
    result = CliRunner().invoke(app, ["run", str(tmp_path / "linear"), "--output", str(output)])
    assert result.exit_code == 1
    assert "OutputError" in result.output
    assert not output.exists()


def test_full_disk_for_the_kernel_cache(tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", str(tiny_disk))
    (tiny_disk / "filler").write_bytes(bytes(12 * 1024))
    with pytest.raises(OutputError) as caught:
        prunus.compile(nn.Conv2d(3, 11, 3), example_inputs=(torch.zeros(1, 3, 13, 13),), name="conv")
    check_message(caught.value, "the disk is full", "PRUNUS_CACHE")
    assert not [path for path in tiny_disk.rglob("*.o") if path.name.count(".") > 1]


@pytest.mark.parametrize("damage", ["not json", "{}", json.dumps({"format": 1})])
def test_damaged_manifest(linear: prunus.Artifact, damage: str, tmp_path: Path) -> None:
    linear.save(tmp_path)
    (tmp_path / "linear.json").write_text(damage)
    with pytest.raises(prunus.PrunusError) as caught:
        prunus.load(tmp_path)
    check_message(caught.value, "manifest")
    assert CliRunner().invoke(app, ["inspect", str(tmp_path)]).exit_code == 1


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed")
def test_full_disk_for_an_emulated_library(tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = prunus.compile(nn.Linear(4, 3), target="rpi4", example_inputs=(torch.zeros(2, 4),), name="linear")
    monkeypatch.setattr("tempfile.tempdir", str(tiny_disk))
    (tiny_disk / "filler").write_bytes(bytes(16 * 1024))
    with pytest.raises(OutputError) as caught:
        artifact(np.zeros((2, 4), np.float32))
    check_message(caught.value, "No space left on device", "TMPDIR")
