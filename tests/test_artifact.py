"""Calling, saving and loading libraries, here and under emulators."""

import dataclasses
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prunus.artifact import Artifact, _array, load
from prunus.backends.codegen import features
from prunus.errors import ArtifactError, InputError, PrunusError, TargetError
from prunus.manifest import TensorRecord
from tests.c_programs import CKernel, Sample, changed_target, compile_kernels, sample

needs_qemu = pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed")


def check(one: Sample, artifact: Callable[..., Any], seed: int = 0) -> None:
    (x,) = one.inputs(seed)
    y, total = artifact(x)
    expected_y, expected_total = one.expected(x)
    np.testing.assert_allclose(y, expected_y, atol=1e-6)
    np.testing.assert_allclose(total, expected_total, rtol=1e-5)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def artifact(one: Sample) -> Artifact:
    return Artifact.build(one.program, one.kernels)


@pytest.fixture
def saved(artifact: Artifact, tmp_path: Path) -> Path:
    return artifact.save(tmp_path / "saved")


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_call(one: Sample, artifact: Artifact, threads: int) -> None:
    artifact.threads = threads
    for seed in range(3):
        check(one, artifact, seed)


@pytest.mark.parametrize("threads", [0, 5, -1])
def test_wrong_number_of_threads(artifact: Artifact, threads: int) -> None:
    with pytest.raises(InputError, match="1 to 4"):
        artifact.threads = threads
    assert artifact.threads == 1


def test_size_that_threads_do_not_divide(tmp_path: Path) -> None:
    """Some threads get nothing to do."""
    for size in (1, 2, 3, 5, 17):
        one = sample(tmp_path, size=size)
        artifact = Artifact.build(one.program, one.kernels)
        artifact.threads = 4
        check(one, artifact)


def test_tensors_in_tensors_out(one: Sample, artifact: Artifact) -> None:
    (x,) = one.inputs()
    found = artifact(torch.from_numpy(x).requires_grad_())
    assert [type(value) for value in found] == [torch.Tensor, torch.Tensor]
    for tensor, array in zip(found, artifact(x), strict=True):
        assert torch.equal(tensor, torch.from_numpy(array))


def test_one_output_comes_as_it_is(one: Sample) -> None:
    program = dataclasses.replace(one.program, steps=one.program.steps[:3], outputs=one.program.outputs[:1])
    found = Artifact.build(program, one.kernels)(*one.inputs())
    assert isinstance(found, np.ndarray)
    assert found.shape == (1, 1003)


def test_outputs_of_two_calls_are_apart(one: Sample, artifact: Artifact) -> None:
    first, _ = artifact(*one.inputs(0))
    kept = first.copy()
    artifact(*one.inputs(1))
    assert np.array_equal(first, kept)


def test_strides_and_alignment_do_not_matter(one: Sample, artifact: Artifact) -> None:
    (x,) = one.inputs()
    expected, _ = artifact(x)
    wide = np.empty((1, 2006), np.float32)
    wide[:, ::2] = x
    unaligned = np.frombuffer(b"-" + x.tobytes(), np.float32, 1003, offset=1).reshape(1, 1003)
    odd_element = np.concatenate([x[:, :1], x], axis=1)[:, 1:]
    fortran = np.asfortranarray(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    for value in (wide[:, ::2], unaligned, odd_element, fortran, frozen, torch.from_numpy(wide)[:, ::2].numpy()):
        assert np.array_equal(artifact(value)[0], expected)


def test_contiguous_inputs_are_not_copied() -> None:
    for shape in ((), (3,), (2, 3), (2, 0)):
        value = np.ones(shape, np.float32)
        assert _array(value, TensorRecord("x", "float32", shape)) is value
        tensor = torch.ones(shape)
        assert (
            np.shares_memory(_array(tensor, TensorRecord("x", "float32", shape)), tensor.numpy()) or not tensor.numel()
        )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], r"(?s)0 inputs.*Expected 1.*Do: "),
        ([np.zeros((1, 1003), np.float32)] * 2, r"(?s)2 inputs.*Expected 1.*Do: "),
        (
            [np.zeros((1003,), np.float32)],
            r"(?s)float32 of shape \(1003,\).*Expected float32 of shape \(1, 1003\).*Do: ",
        ),
        ([np.zeros((1, 1003))], r"(?s)float64 of shape.*Expected float32.*Do: .*astype\(\"float32\"\)"),
        ([np.zeros((1, 1003), ">f4")], r"(?s)>f4.*Expected float32.*Do: "),
        ([torch.zeros(1, 1003, dtype=torch.float16)], r"(?s)torch.float16.*Do: .*\.to\(torch.float32\)"),
        ([torch.zeros(1, 1003, dtype=torch.bfloat16)], r"(?s)torch.bfloat16.*Do: .*\.to\(torch.float32\)"),
        ([[[0.0] * 1003]], r"(?s)of type list.*Do: pass a numpy array or a torch tensor"),
        ([None], r"(?s)of type NoneType.*Do: "),
    ],
    ids=["none", "two", "rank", "float64", "big-endian", "half", "bfloat16", "list", "None"],
)
def test_wrong_inputs(artifact: Artifact, inputs: Sequence[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        artifact(*inputs)


def test_profile_has_a_time_for_each_step(one: Sample, artifact: Artifact) -> None:
    for threads in (1, 2):
        artifact.threads = threads
        times_ns = artifact.profile(*one.inputs())
        assert len(times_ns) == len(artifact.manifest.steps) == 4
        assert all(0 < time_ns < 10**10 for time_ns in times_ns)


def test_two_python_threads_take_turns(one: Sample, artifact: Artifact) -> None:
    artifact.threads = 2
    failures: list[BaseException] = []

    def use(seed: int) -> None:
        try:
            for _ in range(50):
                check(one, artifact, seed)
        except BaseException as error:
            failures.append(error)

    users = [threading.Thread(target=use, args=(seed,)) for seed in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not failures


def test_equal_names_do_not_meet(tmp_path: Path) -> None:
    """Two libraries of one name, then a third at the path of the first, all in use at the same time."""
    samples = []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        samples.append(sample(tmp_path / str(seed), seed=seed))
    built = [Artifact.build(one.program, one.kernels) for one in samples]
    first, second = load(built[0].save(tmp_path / "a")), load(built[1].save(tmp_path / "b"))
    check(samples[0], first)
    third = load(built[2].save(tmp_path / "a"))
    for _ in range(3):
        check(samples[2], third)
        check(samples[0], first)
        check(samples[1], second)


def test_forked_process_gets_threads_of_its_own(saved: Path) -> None:
    script = """if True:
    import os, sys
    import numpy as np
    from prunus.artifact import load
    artifact = load(sys.argv[1], threads=2)
    x = np.ones((1, 1003), np.float32)
    before = artifact(x)[0]
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(artifact(x)[0], before) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(artifact(x)[0], before)
    """
    subprocess.run([sys.executable, "-c", script, saved], check=True, timeout=60)


def test_everything_ends_with_the_artifact(one: Sample) -> None:
    def open_things() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/task")), Path("/proc/self/maps").read_text().count("libsample.so")

    before = open_things()
    artifact = Artifact.build(one.program, one.kernels)
    artifact.threads = 4
    check(one, artifact)
    folder = artifact.folder
    assert open_things()[0] == before[0] + 3
    assert open_things()[1] > before[1]
    del artifact
    assert open_things() == before
    assert not folder.exists()


def test_save_and_load(one: Sample, artifact: Artifact, saved: Path) -> None:
    assert {"libsample.so", "sample.h", "sample.json"} <= {path.name for path in saved.iterdir()}
    for place in (saved, str(saved), saved / "sample.json"):
        again = load(place, threads=2)
        assert again.threads == 2
        assert again.manifest == artifact.manifest
        assert again.program is None
        check(one, again)
    assert load(again.save(saved.parent / "again")).manifest == artifact.manifest


def test_load_and_run_without_heavy_imports(saved: Path) -> None:
    script = """if True:
    import sys
    import numpy as np
    import prunus
    prunus.load(sys.argv[1])(np.ones((1, 1003), np.float32))
    assert not {"torch", "tvm", "onnx", "networkx", "jinja2"} & set(sys.modules), sorted(sys.modules)
    """
    subprocess.run([sys.executable, "-c", script, saved], check=True)


@pytest.mark.parametrize("name", ["libsample.so", "sample.h"])
def test_damaged_file_is_refused(name: str, saved: Path) -> None:
    data = bytearray((saved / name).read_bytes())
    data[len(data) // 2] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"(?s){re.escape(name)} is damaged.*Expected SHA-256.*Do: "):
        load(saved)


def test_missing_files_are_told(saved: Path) -> None:
    (saved / "sample.h").unlink()
    with pytest.raises(ArtifactError, match=r"sample\.h is missing"):
        load(saved)
    (saved / "sample.json").unlink()
    with pytest.raises(ArtifactError, match="0 manifests"):
        load(saved)
    with pytest.raises(ArtifactError, match="does not exist"):
        load(saved / "elsewhere")


def test_folder_of_several_libraries(tmp_path: Path) -> None:
    for name in ("one", "two"):
        built = sample(tmp_path, name=name, size=9)
        Artifact.build(built.program, built.kernels).save(tmp_path / "both")
    with pytest.raises(ArtifactError, match=r"(?s)2 manifests.*one\.json.*two\.json"):
        load(tmp_path / "both")
    check(built, load(tmp_path / "both" / "two.json"))


def test_damage_between_load_and_call_is_found(one: Sample, saved: Path) -> None:
    loaded = load(saved)
    (saved / "libsample.so").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match="damaged"):
        loaded(*one.inputs())


def test_library_for_a_better_processor_is_refused(one: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """No processor answers for this leaf of cpuid, so the library must refuse before it runs a kernel."""
    monkeypatch.setitem(features._BITS["x86_64"], "future", features.CpuBit(0x7FFFFFFF, 0, 0))
    target = changed_target("x86-64-v2", features=frozenset({"ssse3", "future"}))
    refused = Artifact.build(dataclasses.replace(one.program, target=target), one.kernels)
    with pytest.raises(TargetError, match=r"(?s)lacks a feature.*future, ssse3.*Expected.*Do: "):
        refused(*one.inputs())


@needs_qemu
@pytest.mark.parametrize("target", ["rpi3", "rpi5", "rpi3-armhf"])
@pytest.mark.parametrize("threads", [1, 3])
def test_foreign_library(target: str, threads: int, tmp_path: Path) -> None:
    one = sample(tmp_path, target=target)
    artifact = Artifact.build(one.program, one.kernels)
    artifact.threads = threads
    check(one, artifact)
    sets = [one.inputs(seed) for seed in range(4)]
    for (x,), (y, total) in zip(sets, artifact.run_many(sets), strict=True):
        np.testing.assert_allclose(y, one.expected(x)[0], atol=1e-6)
        np.testing.assert_allclose(total, one.expected(x)[1], rtol=1e-5)
        y += 1  # results are the caller's, not read-only views


@needs_qemu
@pytest.mark.parametrize(("sets", "processes"), [(5, 1), (21, 2)])
def test_many_sets_start_a_process_a_core(
    sets: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sample(tmp_path, target="rpi4")
    artifact = Artifact.build(one.program, one.kernels)
    artifact(*one.inputs())
    commands = []
    run = subprocess.run

    def count(command: Any, **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", count)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    given = [one.inputs(seed) for seed in range(sets)]
    for (x,), (y, _) in zip(given, artifact.run_many(given), strict=True):
        np.testing.assert_allclose(y, one.expected(x)[0], atol=1e-6)
    assert len(commands) == processes


@needs_qemu
@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("rpi5", ("qemu-aarch64", "-cpu", "cortex-a72", "-L", "/usr/aarch64-linux-gnu")),
        ("rpi3-armhf", ("qemu-arm", "-cpu", "cortex-a15", "-L", "/usr/arm-linux-gnueabihf")),
    ],
)
def test_older_processor_is_told_by_a_code(target: str, command: tuple[str, ...], tmp_path: Path) -> None:
    one = sample(tmp_path, target=target)
    artifact = Artifact.build(one.program, one.kernels)
    with pytest.raises(TargetError, match=rf"(?s)lacks a feature.*target {target}.*Expected Raspberry Pi.*Do: "):
        artifact.run_under(command)(*one.inputs())
    check(one, artifact)


@needs_qemu
def test_crash_under_the_emulator_is_an_error(tmp_path: Path) -> None:
    one = sample(tmp_path, target="rpi4")
    step = one.program.steps[3]
    text = "#include <stdint.h>\nvoid SYMBOL(float *x, float *y, int32_t a, int32_t b) { *(volatile int *)8 = a; }\n"
    crash = dataclasses.replace(step, kernel=dataclasses.replace(step.kernel, problem=CKernel(text)))
    program = dataclasses.replace(one.program, steps=(*one.program.steps[:3], crash))
    artifact = Artifact.build(program, compile_kernels(program, tmp_path))
    with pytest.raises(ArtifactError, match="SIGSEGV"):
        artifact(*one.inputs())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("qemu-nowhere",), r"(?s)qemu-nowhere is not installed.*Do: apt install qemu-user"),
        (("true", "-L", "/usr/nowhere"), r"(?s)/usr/nowhere is missing.*Do: apt install libc6-arm64-cross"),
    ],
)
def test_missing_emulator_is_told(command: tuple[str, ...], message: str, tmp_path: Path) -> None:
    one = sample(tmp_path, target="rpi4")
    artifact = Artifact.build(one.program, one.kernels).run_under(command)
    with pytest.raises(TargetError, match=message):
        artifact(*one.inputs())


def test_foreign_target_without_emulator(one: Sample, tmp_path: Path) -> None:
    target = changed_target("rpi4", runner=())
    program = dataclasses.replace(one.program, target=target)
    artifact = Artifact.build(program, compile_kernels(program, tmp_path))
    with pytest.raises(TargetError, match=r"(?s)another kind of processor.*Do: .*run_under"):
        artifact(*one.inputs())


@needs_qemu
def test_times_under_an_emulator_are_refused(tmp_path: Path) -> None:
    one = sample(tmp_path, target="rpi4")
    with pytest.raises(TargetError, match="emulator"):
        Artifact.build(one.program, one.kernels).profile(*one.inputs())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format"),
        ({"name": "../sample"}, "name"),
        ({"files": {"../../etc/passwd": "0"}}, "file has the name"),
        ({"files": {}}, "not listed"),
        ({"steps": 3}, "not a manifest"),
        ({"surprise": 1}, "surprise"),
        ({"inputs": [{"name": "x"}]}, "not a manifest"),
        (None, "not a manifest"),
    ],
    ids=["format", "name", "path", "library", "steps", "unknown", "tensor", "text"],
)
def test_bad_manifest_is_refused(change: dict[str, Any] | None, message: str, saved: Path) -> None:
    path = saved / "sample.json"
    table = json.loads(path.read_text())
    path.write_text("{" if change is None else json.dumps({**table, **change}))
    with pytest.raises(PrunusError, match=message) as caught:
        load(saved)
    assert isinstance(caught.value, ArtifactError)
    assert "Do: " in str(caught.value)
