"""The folders at the top are the packages: as links in the checkout, as files in a wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("backends", "frontend", "passes", "targets")
# Files that are no Python and without which Prunus does not work, by folder.
DATA = {
    "backends/codegen": ("*.j2",),
    "backends/runtime": ("*.c", "*.h"),
    "src/prunus": ("py.typed",),
    "src/prunus/report": ("*.j2",),
    "targets": ("*.toml",),
}


@pytest.mark.parametrize("room", ROOMS)
def test_links_point_at_folders(room: str) -> None:
    link = ROOT / "src" / "prunus" / room
    assert link.is_symlink()
    assert link.resolve() == ROOT / room


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_no_packages_of_their_own(room: str) -> None:
    """`import passes` would make a second copy of every class."""
    wrong = (f"import {room}", f"from {room}")
    for path in [*ROOT.glob("src/prunus/**/*.py"), *(ROOT / name for name in ROOMS)]:
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            lines = file.read_text().splitlines()
            assert not [line for line in lines if line.split(".")[0] in wrong], file


def test_wheel_is_whole(tmp_path: Path) -> None:
    # Of a copy: building leaves files in the source folder.
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if files.returncode:
        pytest.skip("not a checkout")
    for name in filter(None, files.stdout.split("\0")):
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            place.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            place.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, source],
        check=True,
    )
    (wheel,) = tmp_path.glob("prunus-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        entry_points = next(name for name in inside if name.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()
    expected = {f"prunus/{path.relative_to(source)}" for room in ROOMS for path in (source / room).rglob("*.py")} | {
        str(path.relative_to(source / "src")) for path in (source / "src").rglob("*.py")
    }
    for folder, patterns in DATA.items():
        inner = folder.removeprefix("src/") if folder.startswith("src/") else f"prunus/{folder}"
        for pattern in patterns:
            found = {f"{inner}/{path.name}" for path in (ROOT / folder).glob(pattern)}
            assert found, (folder, pattern)
            expected |= found
    assert expected <= inside, expected - inside
    assert not [name for name in inside if not name.startswith("prunus")], "only Prunus, nothing of the tests"
    assert "prunus.cli:main" in text
    assert "prunus.dynamo:backend" in text
