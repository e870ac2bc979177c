"""The linked library as the linker, the loader and a C program see it."""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prunus.backends.codegen import CompiledKernel, files
from prunus.backends.codegen.driver import EXPORTS
from prunus.backends.codegen.link import build_library
from prunus.backends.codegen.runtime import runtime_objects
from prunus.errors import BuildError, OutputError
from prunus.manifest import History, PassSummary
from tests.c_programs import Sample, compile_kernels, sample

FOLD = PassSummary("fold", 5, 4, 100, 90, 0.0, ("conv: its result is read twice",))
ONE_OF_EACH_ARCHITECTURE = ["x86-64-v4", "rpi4", "rpi3-armhf"]

# Two models from two threads at once: the program that a user writes first.
USER = """
#include <pthread.h>
#include <stdio.h>
#include "one.h"
#include "two.h"

#define USE(NAME)                                                                      \\
    static float result_##NAME;                                                        \\
    static void *use_##NAME(void *unused)                                              \\
    {                                                                                  \\
        float x[37] = {0.5f, -1.0f, 2.0f}, y[37];                                      \\
        const void *inputs[] = {x};                                                    \\
        void *outputs[] = {y, &result_##NAME};                                         \\
        for (int cycle = 0; cycle < 1000; cycle++) {                                   \\
            NAME *model;                                                               \\
            NAME##_options options = {sizeof options, 1 + cycle % 2, NULL, 0};         \\
            int code = NAME##_create(&model, &options);                                \\
            if (!code)                                                                 \\
                code = NAME##_run(model, inputs, outputs);                             \\
            if (code)                                                                  \\
                puts(NAME##_error(code));                                              \\
            NAME##_destroy(model);                                                     \\
        }                                                                              \\
        return unused;                                                                 \\
    }
USE(one)
USE(two)

int main(void)
{
    pthread_t other;
    pthread_create(&other, NULL, use_two, NULL);
    use_one(NULL);
    pthread_join(other, NULL);
    printf("%.4f %.4f\\n", (double)result_one, (double)result_two);
    return 0;
}
"""


def readelf(option: str, library: Path) -> str:
    return subprocess.run(["readelf", "-W", option, library], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", ONE_OF_EACH_ARCHITECTURE)
def test_library_asks_for_little_and_shows_little(target: str, tmp_path: Path) -> None:
    one = sample(tmp_path, target=target)
    build_library(one.program, one.kernels, tmp_path / "out")
    library = tmp_path / "out" / "libsample.so"

    needed = re.findall(r"NEEDED.*\[(.*)\]", readelf("-d", library))
    assert {name.split(".")[0] for name in needed} <= {"libc", "libm", "libpthread"}
    symbols = readelf("--dyn-syms", library)
    exported = re.findall(r"(?:GLOBAL|WEAK)\s+DEFAULT\s+\d+\s+(\S+)", symbols)
    assert sorted(exported) == sorted(f"sample_{name}" for name in EXPORTS)
    versions = [tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([\d.]+)", readelf("-V", library))]
    assert max(versions) <= (2, 28)
    assert "TEXTREL" not in readelf("-d", library)
    stack = re.search(r"GNU_STACK.*", readelf("-l", library))
    assert stack is not None
    assert "RWE" not in stack[0]


@pytest.mark.parametrize("target", ONE_OF_EACH_ARCHITECTURE)
def test_equal_programs_give_equal_bytes(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        (folder / "temporary").mkdir(parents=True)
        monkeypatch.setenv("TMPDIR", str(folder / "temporary"))
        monkeypatch.chdir(folder)
        one = sample(folder, target=target)
        build_library(one.program, one.kernels, folder / "out", history=History(passes=(FOLD,)))
        built.append({path.name: path.read_bytes() for path in (folder / "out").iterdir()})
    assert built[0] == built[1]
    assert set(built[0]) == {"libsample.so", "sample.h", "sample.json"}
    for place in (str(tmp_path), os.getcwd(), str(Path(__file__).parents[3]), str(Path.home() / ".cache")):
        assert place.encode() not in built[0]["libsample.so"]


def test_driver_and_runtime_keep_to_the_baseline(tmp_path: Path) -> None:
    """The kernels of this sample are baseline code, so any wide register is the driver's or the runtime's."""
    one = sample(tmp_path, target="x86-64-v4")
    build_library(one.program, one.kernels, tmp_path / "out")
    code = subprocess.run(
        ["objdump", "-d", tmp_path / "out" / "libsample.so"], capture_output=True, text=True, check=True
    ).stdout
    assert "%xmm" in code
    assert "%ymm" not in code
    assert "%zmm" not in code


def test_equal_constants_are_stored_once(tmp_path: Path) -> None:
    one = sample(tmp_path, size=100_003)
    build_library(one.program, one.kernels, tmp_path / "out")
    size_bytes = (tmp_path / "out" / "libsample.so").stat().st_size
    assert size_bytes < 2 * 4 * 100_003 + 40_000


def test_runtime_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = sample(tmp_path)
    build_library(one.program, one.kernels, tmp_path / "out")
    before = [path.stat().st_mtime_ns for path in runtime_objects("x86_64-linux-gnu.2.28")]
    calls = []
    run = subprocess.run

    def count(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return run(*args, **options)

    monkeypatch.setattr(subprocess, "run", count)
    build_library(one.program, one.kernels, tmp_path / "out")
    assert len(calls) == 1
    assert [path.stat().st_mtime_ns for path in runtime_objects("x86_64-linux-gnu.2.28")] == before


@pytest.fixture
def user_program(tmp_path: Path) -> tuple[Path, list[str]]:
    """A C program compiled against two libraries, and what it should print."""
    expected = []
    for seed, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        built = sample(tmp_path / name, name=name, size=37, seed=seed)
        build_library(built.program, built.kernels, tmp_path)
        x = built.inputs()[0] * 0
        x[0, :3] = 0.5, -1, 2
        expected.append(f"{built.expected(x)[1][0]:.3f}")
    (tmp_path / "user.c").write_text(USER)
    strict = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = ["cc", *strict, "user.c", "-L.", "-lone", "-ltwo", "-Wl,-rpath,$ORIGIN", "-lpthread", "-o", "user"]
    subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path / "user", expected


@pytest.mark.parametrize(
    "tool", [[], ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"]], ids=["plain", "valgrind"]
)
def test_c_program_uses_two_models_at_once(user_program: tuple[Path, list[str]], tool: list[str]) -> None:
    program, expected = user_program
    if tool and shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    result = subprocess.run([*tool, program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert [value[:-1] for value in result.stdout.split()] == expected
    assert result.stderr == ""


@pytest.mark.parametrize(
    "compiler",
    [["gcc", "-std=c90", "-pedantic"], ["gcc", "-std=c17"], ["g++", "-std=c++98", "-pedantic"], ["g++", "-std=c++20"]],
    ids=" ".join,
)
def test_header_suits_every_compiler(compiler: list[str], tmp_path: Path) -> None:
    one = sample(tmp_path)
    build_library(one.program, one.kernels, tmp_path)
    (tmp_path / "user.c").write_text('#include "sample.h"\n#include "sample.h"\nint main(void) { return SAMPLE_OK; }\n')
    subprocess.run([*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "user.c"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("failing", ["libsample.so", "sample.h", "sample.json"])
@pytest.mark.parametrize("folder_exists", [True, False])
def test_full_disk_leaves_nothing(
    failing: str, folder_exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sample(tmp_path)
    folder = tmp_path / "deep" / "out"
    if folder_exists:
        folder.mkdir(parents=True)
        (folder / "sample.h").write_text("the user's")
    write = files._write

    def fail(path: Path, data: bytes) -> None:
        write(path, data[: len(data) // 2])
        if path.name == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        build_library(one.program, one.kernels, folder)
    if folder_exists:
        assert [path.name for path in folder.iterdir()] == ["sample.h"]
        assert (folder / "sample.h").read_text() == "the user's"
    else:
        assert not (tmp_path / "deep").exists()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def large(tmp_path: Path) -> Sample:
    return sample(tmp_path, size=50_000)


def test_really_full_disk(tiny_disk: Path, large: Sample) -> None:
    with pytest.raises(OutputError, match="No space left on device"):
        build_library(large.program, large.kernels, tiny_disk / "out")
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.parametrize("size", [3_000, 50_000])
def test_full_disk_for_temporary_files(
    size: int, tiny_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too small for the constants, or for what the linker makes of them."""
    one = sample(tmp_path, size=size)
    build_library(one.program, one.kernels, tmp_path / "warm")
    monkeypatch.setattr("tempfile.tempdir", str(tiny_disk))
    with pytest.raises(OutputError, match=r"disk is full|No space left"):
        build_library(one.program, one.kernels, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list(tiny_disk.iterdir()) == []


def test_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = sample(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="PRUNUS_CACHE"):
        build_library(one.program, one.kernels, tmp_path / "out")


def test_output_folder_that_is_a_file(tmp_path: Path) -> None:
    one = sample(tmp_path)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"):
        build_library(one.program, one.kernels, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


def test_broken_object_is_a_build_error(tmp_path: Path) -> None:
    one = sample(tmp_path)
    (tmp_path / "broken.o").write_bytes(b"no object")
    kernels = {spec: CompiledKernel(kernel.symbol, tmp_path / "broken.o") for spec, kernel in one.kernels.items()}
    with pytest.raises(BuildError, match=r"broken\.o"):
        build_library(one.program, kernels, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_kernels_of_a_foreign_architecture_are_a_build_error(tmp_path: Path) -> None:
    one, other = sample(tmp_path), tmp_path / "other"
    other.mkdir()
    foreign = compile_kernels(sample(other, target="rpi4").program, other)
    with pytest.raises(BuildError, match="incompatible"):
        build_library(one.program, foreign, tmp_path / "out")
