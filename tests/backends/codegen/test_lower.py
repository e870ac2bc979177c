"""Kernels are plain functions: nothing of TVM is called, long chains take no longer than their length."""

import re
import subprocess
from pathlib import Path

import pytest

from prunus.backends.codegen.lower import assembly, write_object
from prunus.backends.kernels.elementwise import Elementwise, ElementwiseChain
from prunus.backends.kernels.expression import Apply, Expression, Operand
from prunus.backends.kernels.family import Epilogue, OperandLayout
from prunus.targets import load_target

X = Operand(0, "float32")


def chain(expression: Expression) -> Elementwise:
    return Elementwise((37,), (1,), Epilogue(expression, (OperandLayout("float32", (1,)),)))


def swish(x: Expression) -> Expression:
    return Apply("mul", (x, Apply("sigmoid", (x,), "float32")), "float32")


@pytest.mark.parametrize("name", ["native", "rpi4", "rpi3-armhf", "x86-64-v2"])
def test_an_object_defines_its_symbol_and_asks_for_nothing(name: str, tmp_path: Path) -> None:
    target, family, problem = load_target(name), ElementwiseChain(), chain(swish(X))
    function = family.emit(problem, family.knobs(problem, target)[0], target)
    write_object(function, "k_0123", target, tmp_path / "kernel.o")
    symbols = subprocess.run(["nm", tmp_path / "kernel.o"], capture_output=True, text=True, check=True).stdout
    assert re.search(r" T k_0123$", symbols, re.MULTILINE)
    assert not re.search(r" U (?!_GLOBAL_OFFSET_TABLE_)", symbols), symbols


def test_a_chain_grows_with_its_length() -> None:
    """Forty times `x * sigmoid(x)`: written out, the expression would have 2**40 parts."""
    target, family = load_target("native"), ElementwiseChain()
    lengths = []
    for count in (10, 40):
        expression: Expression = X
        for _ in range(count):
            expression = swish(expression)
        problem = chain(expression)
        text = assembly(family.emit(problem, family.knobs(problem, target)[0], target), target)
        lengths.append(len(text))
    assert lengths[1] < 5 * lengths[0]


def test_vectors_stay_in_vector_registers() -> None:
    target, family, problem = load_target("x86-64-v3"), ElementwiseChain(), chain(swish(X))
    text = assembly(family.emit(problem, family.knobs(problem, target)[0], target), target)
    assert "vfmadd" in text
    assert "ymm" in text
    assert not re.search(r"call\w*\s+\w*exp", text)
