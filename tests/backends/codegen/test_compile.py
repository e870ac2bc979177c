"""Kernels are compiled once, found again, and named by everything that they depend on."""

import dataclasses
from pathlib import Path

import pytest

from prunus.backends.codegen import compile as compile_module
from prunus.backends.codegen.compile import compile_kernels
from prunus.backends.codegen.kernel import CompiledKernel
from prunus.backends.kernels.elementwise import Elementwise, ElementwiseKnob
from prunus.backends.kernels.expression import Accumulator, Apply, Number, Operand
from prunus.backends.kernels.family import Epilogue, OperandLayout
from prunus.backends.plan.program import KernelSpec
from prunus.targets import load_target

NATIVE = load_target("native")


def doubled(size: int, unroll: int = 1) -> KernelSpec:
    expression = Apply("mul", (Operand(0, "float32"), Number(2.0, "float32")), "float32")
    problem = Elementwise((size,), (1,), Epilogue(expression, (OperandLayout("float32", (1,)),)))
    return KernelSpec("elementwise", problem, ElementwiseKnob(4, unroll))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))


def test_equal_specs_are_one_kernel_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    specs = [doubled(7), doubled(8), doubled(7)]
    kernels = compile_kernels(specs, NATIVE, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert len(kernels) == 2
    for kernel in kernels.values():
        assert kernel.symbol.encode() in kernel.object_path.read_bytes()


def test_what_is_compiled_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_kernels([doubled(9)], NATIVE)
    monkeypatch.setattr(compile_module, "shared_workers", lambda: pytest.fail("compiles again"))
    assert compile_kernels([doubled(9)], dataclasses.replace(NATIVE, name="another", cores=1)) == first


def test_two_builds_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for name in ("one", "two"):
        monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path / name))
        contents.append(compile_kernels([doubled(33)], NATIVE)[doubled(33)].object_path.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    "change",
    [{"cpu": "another"}, {"vector_bits": 64}, {"features": frozenset({"new"})}, {"cache": None}, {"load_bits": 1}],
    ids=str,
)
def test_a_kernel_is_named_by_the_facts_of_its_target(
    change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()

    class Workers:
        """Compiles nothing."""

        def map(self, specs: object, kernels: list[CompiledKernel], target: object) -> list[None]:
            names.add(kernels[0].symbol)
            return []

    monkeypatch.setattr(compile_module, "shared_workers", Workers)
    for target in (NATIVE, dataclasses.replace(NATIVE, **change)):  # type: ignore[arg-type]
        compile_kernels([doubled(5)], target)
    assert len(names) == 2


def test_a_kernel_is_named_by_its_problem_and_its_knob() -> None:
    other = Epilogue(Apply("exp", (Accumulator(),), "float32"))
    specs = [
        doubled(5),
        doubled(6),
        doubled(5, unroll=2),
        KernelSpec("elementwise", Elementwise((5,), (1,), other), ()),
    ]
    assert len({compile_module.kernel_of(spec, NATIVE).symbol for spec in specs}) == 4
