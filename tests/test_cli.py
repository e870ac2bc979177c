"""The command line, command by command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import prunus
from prunus.cli import app

MODEL = """
import torch

class Two(torch.nn.Module):
    def forward(self, left, ids):
        return {"sum": left + ids.float(), "pair": torch.relu(left)}

def make():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU()).eval()
    return module, (torch.zeros(1, 3, 7, 9),)

def deep():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Conv2d(5, 2, 3)).eval()
    return module, (torch.zeros(1, 3, 7, 9),)

def two():
    return Two(), (torch.zeros(3), torch.zeros(3, dtype=torch.int64))

def fails():
    raise ValueError("no such thing")

def wrong():
    return 3
"""
PASS = '''
def note(graph):
    """Change nothing."""
    return graph
'''


def prunus_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def json_of(*arguments: object) -> Any:
    result = prunus_command(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of each kind and the compiled library of one."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "net.py").write_text(MODEL)
    (folder / "own.py").write_text(PASS)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    size = torch.export.Dim("batch")
    program = torch.export.export(module, (torch.zeros(2, 4),), dynamic_shapes=({0: size},))
    torch.export.save(program, folder / "linear.pt2")
    result = prunus_command("compile", folder / "net.py:make", "--name", "net", "--output", folder / "net")
    assert result.exit_code == 0, result.output
    assert "conv2d + relu" in result.output
    assert "prunus: import" in result.stderr
    return folder


def test_compile_writes_everything(folder: Path) -> None:
    assert {path.name for path in (folder / "net").iterdir()} == {"libnet.so", "net.h", "net.json", "report.html"}


def test_compile_pt2_with_a_shape(folder: Path, tmp_path: Path) -> None:
    report = json_of("compile", folder / "linear.pt2", "--shape", "input=5,4", "--output", tmp_path / "out")
    assert report["inputs"] == [{"name": "input", "dtype": "float32", "shape": [5, 4]}]
    assert report["name"] == "linear"
    assert report["files"] == ["liblinear.so", "linear.h", "linear.json", "report.html"]


def test_compile_onnx_with_a_constant(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", (2, 3)), ("k", ()))
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))
    graph = helper.make_graph([helper.make_node("Mul", ["x", "k"], ["y"])], "graph", tensors, [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "scale.onnx")
    report = json_of("compile", tmp_path / "scale.onnx", "--constant", "k=2.5", "--output", tmp_path / "out")
    assert [tensor["name"] for tensor in report["inputs"]] == ["x"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(prunus.load(tmp_path / "out")(x), 2.5 * x)


def test_compile_keras(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((6, 5), name="signal"), keras.layers.Conv1D(3, 2)], name="filter")
    model.save(tmp_path / "filter.keras")
    report = json_of("compile", tmp_path / "filter.keras", "--output", tmp_path / "out")
    assert report["inputs"] == [{"name": "signal", "dtype": "float32", "shape": [1, 6, 5]}]
    assert report["name"] == "filter"
    assert "aten.conv1d" in json_of("inspect", tmp_path / "filter.keras")["operators"]
    x = np.random.default_rng(0).standard_normal((1, 6, 5)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(prunus.load(tmp_path / "out")(x), expected, atol=1e-5)


def test_compile_with_a_pass(folder: Path, tmp_path: Path) -> None:
    report = json_of(
        "compile", folder / "net.py:make", "--pass", f"{folder / 'own.py'}:note", "--name", "net", "--output", tmp_path
    )
    assert report["passes"][0]["name"] == "note"


def test_name_follows_the_function(folder: Path, tmp_path: Path) -> None:
    assert json_of("compile", folder / "net.py:two", "--output", tmp_path)["name"] == "two"


def test_run_one_input(folder: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 7, 9)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", anything=x)
    expected = prunus.load(folder / "net")(x)
    for given in ("x.npy", "x.npz"):
        for written in ("y.npy", "y.npz"):
            result = prunus_command("run", folder / "net", "--input", tmp_path / given, "--output", tmp_path / written)
            assert result.exit_code == 0, result.output
            assert "1, 5, 5, 7" in result.output
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
        np.testing.assert_array_equal(np.load(tmp_path / "y.npz")["output"], expected)


def test_run_several_inputs_and_outputs(folder: Path, tmp_path: Path) -> None:
    assert prunus_command("compile", folder / "net.py:two", "--output", tmp_path / "two").exit_code == 0
    np.savez(tmp_path / "in.npz", ids=np.array([1, 2, 3]), left=np.array([-1, 0, 1], np.float32))
    result = prunus_command(
        "run", tmp_path / "two", "--input", tmp_path / "in.npz", "--output", tmp_path / "y.npz", "--threads", 1
    )
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_array_equal(found["sum"], [0, 2, 4])
        np.testing.assert_array_equal(found["pair"], [0, 0, 1])
    np.save(tmp_path / "one.npy", np.zeros(3, np.float32))
    result = prunus_command("run", tmp_path / "two", "--input", tmp_path / "one.npy")
    assert result.exit_code == 1
    assert "2 inputs: left, ids" in result.output
    np.savez(tmp_path / "some.npz", ids=np.array([1, 2, 3]))
    result = prunus_command("run", tmp_path / "two", "--input", tmp_path / "some.npz")
    assert "add left" in result.output
    assert prunus_command("run", tmp_path / "two", "--output", tmp_path / "y.npy").exit_code == 1


def test_random_inputs_are_the_same_every_time(folder: Path) -> None:
    first, second = (json_of("run", folder / "net") for _ in range(2))
    assert first == second
    assert first["outputs"][0]["shape"] == [1, 5, 5, 7]


def test_bench(folder: Path, tmp_path: Path) -> None:
    report = json_of("bench", folder / "net", "--rounds", 3, "--html", tmp_path / "measured.html")
    assert 0 < report["fastest_ms"] <= report["median_ms"] <= report["slowest_ms"]
    assert all(row["measured_ms"] >= 0 for row in report["steps"])
    assert "Measured time by step" in (tmp_path / "measured.html").read_text()
    result = prunus_command("bench", folder / "net", "--rounds", 3)
    assert result.exit_code == 0
    assert "of 3 runs on 1 thread;" in result.output


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed")
def test_foreign_libraries_run_but_are_not_timed(folder: Path, tmp_path: Path) -> None:
    result = prunus_command(
        "compile", folder / "net.py:make", "--target", "rpi4", "--name", "net", "--output", tmp_path / "rpi4"
    )
    assert result.exit_code == 0, result.output
    assert prunus_command("run", tmp_path / "rpi4", "--output", tmp_path / "there.npy").exit_code == 0
    assert prunus_command("run", folder / "net", "--output", tmp_path / "here.npy").exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "there.npy"), np.load(tmp_path / "here.npy"), atol=1e-5)
    result = prunus_command("bench", tmp_path / "rpi4")
    assert result.exit_code == 1
    assert "emulator" in result.output


def test_inspect_a_library(folder: Path) -> None:
    result = prunus_command("inspect", folder / "net")
    assert result.exit_code == 0
    assert "conv2d + relu" in result.output
    assert "no plan can take less" in result.output
    assert json_of("inspect", folder / "net" / "net.json")["name"] == "net"


def test_inspect_a_model(folder: Path) -> None:
    facts = json_of("inspect", folder / "linear.pt2", "--shape", "input=5,4")
    assert facts["inputs"] == [{"name": "input", "dtype": "float32", "shape": [5, 4]}]
    assert facts["parameters"] == 15
    assert facts["operators"] == {"aten.linear": 1, "aten.relu": 1}
    assert "aten.linear" in prunus_command("inspect", folder / "linear.pt2", "--shape", "input=5,4").output


def test_inspect_groups(folder: Path) -> None:
    deep = ("inspect", f"{folder / 'net.py'}:deep", "--groups")
    plan = json_of(*deep)
    assert [(group["name"], group["units"]) for group in plan["groups"]] == [("0", 5)]
    assert plan["groups"][0]["unit_takes"] == ["0.weight[1]", "0.bias[1]", "2.weight[:, 1]"]
    assert plan["protected"][0]["reason"] == "conv2d_1: it is an output of the model"
    assert "2.weight[:, 1]" in prunus_command(*deep).output
    kept = json_of(*deep, "--keep", "0.*")
    assert kept["groups"] == []
    assert "keep=['0.*']" in kept["protected"][0]["reason"]
    assert prunus_command("inspect", folder / "net", "--groups").exit_code == 2


def test_targets() -> None:
    assert [row["name"] for row in json_of("targets")] == prunus.target_names()
    assert "Raspberry Pi 4 (Cortex-A72)" in prunus_command("targets").output


def test_passes() -> None:
    rows = json_of("passes")
    assert "fold_batchnorm" in [row["name"] for row in rows]
    assert all(row["does"] for row in rows)
    assert "fold_batchnorm" in prunus_command("passes").output


def test_doctor() -> None:
    found = json_of("doctor")
    assert {row["what"] for row in found["targets"]} == set(prunus.target_names())
    native = next(row for row in found["targets"] if row["what"] == "native")
    assert native["fine"]
    assert {"processor", "apache-tvm", "ziglang", "kernel cache"} <= {row["what"] for row in found["machine"]}


def test_doctor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunus.emulated.shutil.which", lambda name: None)
    found = json_of("doctor")
    foreign = next(row for row in found["targets"] if row["what"] == "rpi4")
    assert not foreign["fine"]
    assert foreign["do"] == "apt install qemu-user"


@pytest.mark.parametrize(
    "arguments",
    [
        ("compile",),
        ("compile", "x.onnx", "--shape", "x"),
        ("compile", "x.onnx", "--shape", "x=0,3"),
        ("compile", "x.onnx", "--shape", "x=a,3"),
        ("compile", "x.onnx", "--constant", "sr=fast"),
        ("run", "folder", "--threads", "0"),
        ("nothing",),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = prunus_command(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("net.py:fails", "ValueError: no such thing"),
        ("net.py:wrong", "a tuple (module, example_inputs)"),
        ("net.py:mak", "name one of"),
        ("nothing.py:make", "does not import"),
        ("no.such.module:make", "does not import"),
        ("nothing.onnx", "is no file"),
        ("nothing.pt2", "nothing.pt2"),
    ],
)
def test_models_that_cannot_be_read(model: str, words: str, folder: Path, tmp_path: Path) -> None:
    place = folder / model if ".py" in model else model
    result = prunus_command("compile", place, "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert words in result.output
    assert "ImportModelError" in result.output
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback() -> None:
    result = prunus_command("--debug", "inspect", "nothing.onnx")
    assert isinstance(result.exception, prunus.PrunusError)


def test_as_a_program() -> None:
    """Exit codes and messages as a shell sees them."""
    command = [sys.executable, "-m", "prunus"]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"prunus {prunus.__version__}\n"
    missing = subprocess.run([*command, "run", "nothing"], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert missing.stdout == ""
    assert missing.stderr.startswith("ArtifactError: nothing does not exist\nExpected ")
    assert "Do: " in missing.stderr
