"""The examples of the documentation run: a block that starts with a path is that file, in order.

Modules become importable, tests are run by pytest, other files are written into the working folder; blocks without a
path are programs.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

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
