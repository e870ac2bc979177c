"""The generated C: odd names, odd tensors, outputs that no step writes."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from prunus.artifact import Artifact
from prunus.backends.codegen.constants import pack_constants
from prunus.backends.codegen.driver import DTYPES, write_driver
from prunus.backends.plan.program import Arena, Buffer, Program, Step, Storage, Tensor
from prunus.errors import BuildError, TargetError
from prunus.targets import load_target
from tests.c_programs import changed_target, sample

NO_ARENA = Arena({}, 0, 0, 0, 0)


def bare_program(inputs: list[Tensor], outputs: list[Tensor], constants: dict[Buffer, np.ndarray]) -> Program:
    return Program(
        name="bare",
        target=load_target("x86-64-v2"),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        steps=(),
        constants=constants,
        arena=NO_ARENA,
        max_threads=2,
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 5)], ids=str)
def test_inputs_and_constants_as_outputs(shape: tuple[int, ...], threads: int) -> None:
    """A model without any step: for every dtype the outputs are an input, a constant, and the input again."""
    size = int(np.prod(shape, dtype=int))
    value = np.arange(size).reshape(shape)
    inputs, outputs, constants = [], [], {}
    for dtype in DTYPES:
        x, constant = Buffer(dtype, Storage.INPUT, dtype, size), Buffer(dtype, Storage.CONSTANT, dtype, size)
        inputs.append(Tensor(dtype, dtype, shape, x))
        outputs += [Tensor(f"{dtype}_{index}", dtype, shape, buffer) for index, buffer in enumerate((x, constant, x))]
        constants[constant] = value.astype(dtype)
    artifact = Artifact.build(bare_program(inputs, outputs, constants), {})
    artifact.threads = threads
    given = [np.asarray(value + 1).astype(dtype) for dtype in DTYPES]
    expected = [array for x, c in zip(given, constants.values(), strict=True) for array in (x, c, x)]
    for found, right in zip(artifact(*given), expected, strict=True):
        assert (found.dtype, found.shape) == (right.dtype, right.shape)
        assert np.array_equal(found, right)


def test_model_without_inputs() -> None:
    constant = Buffer("c", Storage.CONSTANT, "int32", 3)
    value = np.array([1, -2, 3], dtype=np.int32)
    artifact = Artifact.build(bare_program([], [Tensor("c", "int32", (3,), constant)], {constant: value}), {})
    assert artifact().tolist() == [1, -2, 3]


def test_one_output_twice(tmp_path: Path) -> None:
    one = sample(tmp_path, size=9)
    program = dataclasses.replace(one.program, outputs=(*one.program.outputs, one.program.outputs[0]))
    first, total, again = Artifact.build(program, one.kernels)(*one.inputs())
    assert np.array_equal(first, again)
    assert np.allclose(first.sum(), total)


def test_short_steps_stay_with_one_thread(tmp_path: Path) -> None:
    one = sample(tmp_path)

    def parallel(cost_cycles: float) -> str:
        step: Step = dataclasses.replace(one.program.steps[0], cost_cycles=cost_cycles)
        program = dataclasses.replace(one.program, steps=(step,))
        found = re.search(r"\{step_0, 1003, (\d)\}", write_driver(program, one.kernels, pack_constants(program)).driver)
        assert found is not None
        return found[1]

    assert [parallel(cost) for cost in (0, 100, 1e6)] == ["1", "0", "1"]


def test_texts_of_errors_have_their_parts(tmp_path: Path) -> None:
    one = sample(tmp_path, target="rpi5")
    driver = write_driver(one.program, one.kernels, pack_constants(one.program)).driver
    texts = re.search(r"errors\[\] = \{(.*?)\};", driver, re.DOTALL)
    assert texts is not None
    rows = texts[1].strip().splitlines()
    assert len(rows) == 8
    for row in rows[1:]:
        assert re.search(r'"\S.*\\012Expected .*\\012Do: .*"', row)
    assert "dotprod" in rows[1]


def test_missing_kernel(tmp_path: Path) -> None:
    one = sample(tmp_path)
    with pytest.raises(BuildError, match="no compiled kernel"):
        write_driver(one.program, {}, pack_constants(one.program))


def test_unknown_dtype() -> None:
    x = Buffer("x", Storage.INPUT, "complex64", 1)
    tensor = Tensor("x", "complex64", (1,), x)
    program = bare_program([tensor], [tensor], {})
    with pytest.raises(BuildError, match="complex64"):
        write_driver(program, {}, pack_constants(program))


def test_feature_that_nobody_can_check(tmp_path: Path) -> None:
    one = sample(tmp_path)
    program = dataclasses.replace(one.program, target=changed_target("x86-64-v2", features=frozenset({"sse5"})))
    with pytest.raises(TargetError, match="sse5"):
        write_driver(program, one.kernels, pack_constants(program))
