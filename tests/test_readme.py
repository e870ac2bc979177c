"""Every block of Python and of C in the README runs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from examples.trained import FASHION

import prunus

README = Path(__file__).resolve().parents[1] / "README.md"
C_PROGRAM = '#include <stdio.h>\n{includes}\nint main(void) {{\n{body}\nprintf("%g", logits[0]);\nreturn 0;\n}}\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.M | re.S)


@pytest.mark.parametrize("source", blocks("python"))
def test_python(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(source, {})
    label, arena_bytes = capsys.readouterr().out.split()
    assert 0 <= int(label) < 10
    assert int(arena_bytes) > 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="cc is not installed")
@pytest.mark.parametrize("source", blocks("c"))
def test_c(source: str, tmp_path: Path) -> None:
    prunus.compile(FASHION.path, target="native", name="fashion").save(tmp_path)
    lines = source.splitlines()
    includes = "\n".join(line for line in lines if line.startswith("#include"))
    body = "\n".join(line for line in lines if not line.startswith("#include"))
    (tmp_path / "program.c").write_text(C_PROGRAM.format(includes=includes, body=body))
    command = ["cc", "-Wall", "-Werror", "program.c", "-o", "program", "-I.", "-L.", "-lfashion", "-Wl,-rpath,."]
    subprocess.run(command, cwd=tmp_path, check=True)
    result = subprocess.run(["./program"], cwd=tmp_path, check=True, capture_output=True, text=True)
    float(result.stdout)
