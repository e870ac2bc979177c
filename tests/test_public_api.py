"""What users see: the names, and what importing costs."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import prunus
from prunus import errors

HEAVY = {"torch", "tvm", "onnx", "networkx", "tvm_ffi", "rich", "typer"}


def test_names() -> None:
    assert prunus.__all__ == [
        "Artifact",
        "Distill",
        "LowRank",
        "Prune",
        "PrunusError",
        "Quantize",
        "Target",
        "Tune",
        "compile",
        "graph_pass",
        "import_model",
        "load",
        "load_target",
        "low_rank",
        "prune",
        "quantize",
        "target_names",
    ]
    assert set(prunus.__all__) <= set(dir(prunus))
    assert prunus.__version__ == "0.1.0"


@pytest.mark.parametrize("name", prunus.__all__)
def test_each_name_is_there_and_described(name: str) -> None:
    assert inspect.getdoc(getattr(prunus, name))


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compil'"):
        _ = prunus.compil


def test_options_are_named() -> None:
    """Only the model is positional: `prunus.compile(model, target=...)`."""
    parameters = list(inspect.signature(prunus.compile).parameters.values())
    assert [item.kind for item in parameters[1:]] == [inspect.Parameter.KEYWORD_ONLY] * (len(parameters) - 1)


def test_errors_form_one_tree() -> None:
    classes = [item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, Exception)]
    assert all(issubclass(item, errors.PrunusError) for item in classes)
    drawn = inspect.getdoc(errors) or ""
    assert all(item.__name__ in drawn for item in classes)


def loaded_by(source: str, *arguments: str) -> set[str]:
    """Return which heavy packages a fresh interpreter has imported after `source`."""
    source += "\nimport sys; print('loaded', *sys.modules)"
    result = subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True, text=True, check=True)
    modules = next(line for line in result.stdout.splitlines() if line.startswith("loaded")).split()
    return HEAVY & set(modules)


def test_import_is_light() -> None:
    assert loaded_by("import prunus") == set()


def test_load_and_run_are_light(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    x = torch.randn(1, 3)
    prunus.compile(module, example_inputs=(x,), name="linear").save(tmp_path)
    np.save(tmp_path / "x.npy", x.numpy())
    source = """
import sys, numpy, prunus
artifact = prunus.load(sys.argv[1])
numpy.save(sys.argv[1] + "/y.npy", artifact(numpy.load(sys.argv[1] + "/x.npy")))
"""
    assert loaded_by(source, str(tmp_path)) == set()
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), module(x).detach().numpy(), atol=1e-5)


def test_a_saved_report_needs_no_compiler(tmp_path: Path) -> None:
    prunus.compile(torch.nn.Linear(3, 2), example_inputs=(torch.zeros(1, 3),), name="linear").save(tmp_path)
    source = (
        "import sys, prunus; report = prunus.load(sys.argv[1]).report; assert 'linear' in str(report) + report.html"
    )
    assert loaded_by(source, str(tmp_path)) <= {"rich", "networkx"}


def test_command_line_starts_light() -> None:
    assert loaded_by("import prunus.cli") <= {"rich", "typer"}
