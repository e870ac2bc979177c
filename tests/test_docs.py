"""The examples of the documentation run: a block that starts with a path is that file, in order.

Modules become importable, tests are run by pytest, other files are written into the working folder; blocks without a
path are programs.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from prunus.cli import app

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("backends", "frontend", "passes", "targets")
FENCE = re.compile(r"^```(python|toml)\n(.*?)^```", re.M | re.S)
PATH = re.compile(r"# (\S+/\S+\.\w+)\n")
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if "```python\n" in path.read_text())

# Makes the pages' modules importable under their names, without files in the checkout.
CONFTEST = """
import importlib.util, sys
for name, path in {modules!r}.items():
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    package, _, leaf = name.rpartition(".")
    setattr(importlib.import_module(package), leaf, module)
"""


@dataclass(frozen=True)
class Block:
    """A block and the path in its first line, empty where there is none."""

    language: str
    source: str
    path: str


def blocks(page: Path) -> list[Block]:
    found = []
    for language, source in FENCE.findall(page.read_text()):
        path = PATH.match(source)
        found.append(Block(language, source, path[1] if path else ""))
    return found


def test_pages_are_found() -> None:
    assert {"add_a_pass", "add_an_onnx_operator", "add_a_target", "add_a_kernel_family"} <= {p.stem for p in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples(page: Path, tmp_path: Path) -> None:
    modules: dict[str, str] = {}
    program = ""
    for block in blocks(page):
        name = block.path.rpartition("/")[2]
        if not block.path:
            program += block.source if block.language == "python" else ""
            continue
        (tmp_path / name).write_text(block.source)
        if block.path.startswith(ROOMS) and name.endswith(".py"):
            modules["prunus." + block.path.removesuffix(".py").replace("/", ".")] = str(tmp_path / name)
    (tmp_path / "test_program.py").write_text(f"def test_program():\n    exec({program!r}, {{}})\n")
    (tmp_path / "conftest.py").write_text(CONFTEST.format(modules=modules))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "."],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_paths_exist(page: Path) -> None:
    """Files of the rooms that a page names are there, but for those that its own examples make."""
    made = {block.path for block in blocks(page)}
    for path in re.findall(
        r"`((?:backends|frontend|passes|targets|tests|src|examples|benchmarks)/[\w/.]+)`", page.read_text()
    ):
        assert path in made or (ROOT / path).exists(), path


@pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed")
def test_c_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "c_interface.md").read_text()
    (program,) = re.findall(r"^```c\n(.*?)^```", text, re.M | re.S)
    (python,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (command,) = re.findall(r"^`(cc .*)`$", text, re.M)
    (tmp_path / "program.c").write_text(program)
    monkeypatch.chdir(tmp_path)
    exec(python, {})
    subprocess.run([*shlex.split(command), "-Wall", "-Wextra", "-Werror", "-o", "program"], check=True)
    result = subprocess.run(["./program"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"output: \S+\n", result.stdout)


def test_options_of_the_command_line() -> None:
    """Every option that the page names is one of the command's, and the other way round."""
    text = (ROOT / "docs" / "command_line.md").read_text()
    for name, command in app_commands().items():
        section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        named = set(re.findall(r"--[a-z]+", section[1])) if section else set()
        assert named <= command | {"--shape", "--constant"}, name
        if name == "compile":
            assert command - {"--json", "--help"} <= named


def app_commands() -> dict[str, set[str]]:
    """Return the options of each command."""
    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
