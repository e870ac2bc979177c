"""Functions of vectors against float64, over their whole range."""

from typing import Any

import numpy as np
import pytest
import torch

from prunus.backends.kernels.emit import Memory, evaluate, kernel, load, store
from prunus.backends.kernels.expression import Apply, Operand
from prunus.backends.kernels.tir import T
from prunus.targets import load_target
from tests.backends.kernels.execution import Pointer, execute, skip_unless_run

LANES = 8
INF, NAN = float("inf"), float("nan")


def run(op: str, *operands: np.ndarray, target: str = "native") -> np.ndarray:
    """Compute `op` of float32 arrays with a kernel of one vector a unit."""
    machine, count = load_target(target), len(operands[0])
    padded = [np.pad(array.astype(np.float32), (0, -count % LANES)) for array in operands]
    expression = Apply(op, tuple(Operand(i, "float32") for i in range(len(operands))), "float32")

    def body(memories: list[Memory], begin: object, end: object) -> None:
        with T.serial(begin, end) as unit:
            value = evaluate(expression, LANES, None, lambda i, lanes: load(memories[i], unit * LANES, lanes))
            store(memories[-1], unit * LANES, value, LANES)

    function = kernel(machine, ["float32"] * (len(operands) + 1), body)
    tensors = [torch.from_numpy(array.copy()) for array in padded]
    result = torch.zeros_like(tensors[0])
    pointers = [Pointer(tensor, 0) for tensor in (*tensors, result)]
    execute(function, pointers, [0, len(padded[0]) // LANES], machine)
    return result.numpy()[:count]


WIDE = np.concatenate([np.linspace(-110, 110, 4001), np.linspace(-1, 1, 2001), [0.0, -0.0]]).astype(np.float32)
POSITIVE = np.concatenate([np.geomspace(1e-37, 1e37, 3000), np.linspace(0.5, 2, 1001)]).astype(np.float32)
TINY = np.geomspace(1e-8, 1, 500).astype(np.float32)

# op: (inputs, the function in float64, largest error relative to the result or to this number, whichever is larger)
RELATIVE: dict[str, tuple[np.ndarray, Any, float]] = {
    "exp": (WIDE, np.exp, 1.2e-38),
    "sigmoid": (WIDE, lambda x: 1 / (1 + np.exp(-x)), 1e-30),
    "tanh": (WIDE, np.tanh, 1e-3),
    "erf": (WIDE, lambda x: torch.erf(torch.from_numpy(x)).numpy(), 1.0),
    "log": (POSITIVE, np.log, 1.0),
    "log1p": (np.concatenate([POSITIVE, TINY, -TINY[:-1]]), np.log1p, 1e-30),
    "expm1": (np.concatenate([TINY, -TINY, WIDE]), np.expm1, 1e-30),
    "sqrt": (POSITIVE, np.sqrt, 1e-30),
    "sin": (WIDE, np.sin, 1.0),
}


@pytest.mark.parametrize("target", ["native", "x86-64-v3", "rpi4"])
@pytest.mark.parametrize("op", RELATIVE)
def test_functions_of_one(op: str, target: str) -> None:
    skip_unless_run(load_target(target))
    inputs, function, floor = RELATIVE[op]
    with np.errstate(over="ignore"):
        expected = function(inputs.astype(np.float64))
    found = run(op, inputs, target=target).astype(np.float64)
    small = (np.abs(expected) < 3.4e38) & ((np.abs(expected) > 1.2e-38) | (expected == 0))
    error = np.abs(found - expected)[small] / np.maximum(np.abs(expected[small]), floor)
    assert error.max() < 1e-6


EDGES = {
    "exp": ([INF, -INF, 0.0, 100.0, -120.0], [INF, 0.0, 1.0, INF, 0.0]),
    "sigmoid": ([INF, -INF, 0.0, 200.0, -200.0], [1.0, 0.0, 0.5, 1.0, 0.0]),
    "tanh": ([INF, -INF, 0.0, 50.0, -50.0], [1.0, -1.0, 0.0, 1.0, -1.0]),
    "erf": ([INF, -INF, 0.0, 9.0, -9.0], [1.0, -1.0, 0.0, 1.0, -1.0]),
    "log": ([INF, 0.0, 1.0, -1.0], [INF, -INF, 0.0, NAN]),
}


@pytest.mark.parametrize("op", EDGES)
def test_edges(op: str) -> None:
    inputs, expected = EDGES[op]
    found = run(op, np.array(inputs, np.float32))
    np.testing.assert_allclose(found, np.array(expected, np.float32), rtol=0, atol=3e-7)


def test_powers() -> None:
    base, exponent = (axis.ravel() for axis in np.meshgrid([0.1, 0.5, 1.0, 2.5, 7.0], [-3.0, -0.5, 0.0, 1.0, 2.0, 4.5]))
    np.testing.assert_allclose(run("pow", base, exponent), base**exponent, rtol=5e-6)
    signed, whole = np.array([-2.0, -2.0, -1.5, -3.0]), np.array([3.0, 2.0, 0.0, -1.0])
    np.testing.assert_allclose(run("pow", signed, whole), signed**whole, rtol=5e-6)
    assert np.isnan(run("pow", np.array([-2.0]), np.array([0.5]))).all()
