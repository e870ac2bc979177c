"""Integer operators give PyTorch's bytes on every processor, whatever the inputs are."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import prunus
from prunus.targets import load_target
from tests.backends.kernels.execution import has_processor
from tests.backends.kernels.integer_layers import Call, convolution, integers, linear, quantized, signal

TARGETS = ["native", "x86-64-v4", "x86-64-v3", "x86-64-v2", "rpi3", "rpi4", "rpi5", "rpi3-armhf"]
FILLS: list[int | None] = [None, 127, -128]

Case = tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]
CASES: dict[str, Case] = {
    "first layer": (lambda: convolution(3, 16, 3, stride=2, padding=1), ((1, 3, 11, 13),)),
    "one channel": (lambda: convolution(1, 9, 3, padding=1), ((1, 1, 9, 7),)),
    "tall window": (lambda: convolution(2, 9, 7, stride=2, padding=3), ((2, 2, 15, 9),)),
    "few channels, dilated": (lambda: convolution(3, 8, 3, padding=2, dilation=2), ((1, 3, 9, 7),)),
    "few channels, long lines": (lambda: convolution(2, 5, 5, stride=2, padding=2), ((1, 2, 9, 4001),)),
    "odd channels": (lambda: convolution(5, 37, 3, padding=1), ((1, 5, 9, 7),)),
    "even channels": (lambda: convolution(16, 24, 3, padding=1), ((1, 16, 6, 9),)),
    "narrow weights": (lambda: convolution(16, 24, 3, padding=1, bits=7), ((1, 16, 6, 9),)),
    "4-bit weights": (lambda: convolution(16, 24, 3, padding=1, bits=4, bias=False), ((1, 16, 6, 9),)),
    "4-bit weights, odd channels": (lambda: convolution(21, 37, 3, padding=1, bits=4), ((1, 21, 6, 9),)),
    "4-bit weights, groups": (lambda: convolution(20, 12, 3, padding=1, groups=2, bits=4), ((2, 20, 5, 5),)),
    "4-bit weights, first layer": (lambda: convolution(3, 16, 5, stride=2, padding=2, bits=4), ((1, 3, 11, 13),)),
    "4-bit weights, pointwise": (lambda: convolution(45, 45, 1, bits=4), ((1, 45, 5, 6),)),
    "dilated": (lambda: convolution(8, 8, 3, padding=2, dilation=2), ((2, 8, 9, 7),)),
    "groups": (lambda: convolution(8, 12, 3, padding=1, groups=2), ((1, 8, 5, 5),)),
    "pointwise": (lambda: convolution(37, 33, 1, zero_point=-128), ((1, 37, 5, 6),)),
    "depthwise": (lambda: convolution(37, 37, 3, padding=1, groups=37), ((1, 37, 7, 9),)),
    "depthwise, stride 2": (lambda: convolution(32, 32, 3, stride=2, padding=1, groups=32, bits=7), ((1, 32, 8, 8),)),
    "depthwise 5x5": (lambda: convolution(16, 16, 5, padding=2, groups=16), ((1, 16, 7, 7),)),
    "depthwise, 4-bit weights": (lambda: convolution(45, 45, 3, padding=1, groups=45, bits=4), ((1, 45, 7, 5),)),
    "5 rows, stride 2": (lambda: convolution(12, 16, 5, stride=2, padding=2), ((2, 12, 13, 11),)),
    "many blocks": (lambda: convolution(8, 150, 3, padding=1, bits=7), ((1, 8, 7, 7),)),
    "signal": (lambda: signal(16, 24, 5, padding=2), ((1, 16, 37),)),
    "signal longer than the cache": (lambda: signal(32, 20, 5, stride=2, padding=2, bits=7), ((1, 32, 2601),)),
    "linear": (lambda: linear(37, 10, 8), ((1, 37),)),
    "products beyond int16": (lambda: linear(37, 20, 8, larger=400), ((2, 37),)),
    "products beyond 2**22": (lambda: linear(37, 20, 8, larger=1e4), ((2, 37),)),
    "products beyond int32": (lambda: linear(37, 20, 8, larger=1e9), ((2, 37),)),
    "linear, narrow weights": (lambda: linear(64, 40, 7), ((3, 64),)),
    "linear, 4-bit weights": (lambda: linear(67, 43, 4), ((3, 67),)),
    "add": (lambda: Call(quantized.qadd, 0.7, 1.3, 4, -9, 3, -128, 127), ((2, 5, 7), (2, 5, 7))),
    "multiply": (lambda: Call(quantized.qmul, 0.013, 4, -9, 3, -100, 127), ((1, 37, 5, 5), (1, 37, 1, 1))),
    "look up": (lambda: Call(quantized.qlookup, integers(256)), ((3, 41),)),
    "mean": (lambda: Call(quantized.qmean, [2, 3], False, 1.7, -3, 5), ((1, 37, 7, 5),)),
    "maximum": (lambda: nn.MaxPool2d(3, 2, 1), ((1, 19, 9, 7),)),
    "dequantize": (lambda: Call(quantized.dequantize, 0.37, -11), ((3, 41),)),
}  # fmt: skip


class Everything(nn.Module):
    """All cases in one library."""

    def __init__(self) -> None:
        super().__init__()
        self.cases = nn.ModuleList(build() for build, _ in CASES.values())
        self.counts = [len(shapes) for _, shapes in CASES.values()]

    def forward(self, *x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results, start = [], 0
        for case, count in zip(self.cases, self.counts, strict=True):
            results.append(case(*x[start : start + count]))
            start += count
        return tuple(results)


def inputs(fill: int | None) -> tuple[torch.Tensor, ...]:
    shapes = [shape for _, several in CASES.values() for shape in several]
    if fill is None:
        return tuple(integers(*shape, seed=index) for index, shape in enumerate(shapes))
    return tuple(torch.full(shape, fill, dtype=torch.int8) for shape in shapes)


@pytest.mark.parametrize("target", TARGETS)
def test_bytes(target: str) -> None:
    if not has_processor(load_target(target)):
        pytest.skip(f"nothing here runs libraries for {target}")
    module = Everything()
    artifact = prunus.compile(module, target=target, example_inputs=inputs(None), name="integers")
    artifact.threads = min(2, artifact.manifest.max_threads)
    sets = [inputs(fill) for fill in FILLS]
    for given, found in zip(sets, artifact.run_many(sets), strict=True):
        for name, result, expected in zip(CASES, found, module(*given), strict=True):
            assert result.dtype == expected.dtype, name
            assert torch.equal(torch.as_tensor(result), expected), name


@pytest.mark.parametrize("target", ["native", "x86-64-v3", "rpi4", "rpi5"])
def test_quantizing_rounds_half_to_even_and_saturates(target: str) -> None:
    if not has_processor(load_target(target)):
        pytest.skip(f"nothing here runs libraries for {target}")
    steps = np.concatenate([np.arange(-140, 140, 0.5), [1e30, -1e30, np.inf, -np.inf, 0.0, -0.0]]).astype(np.float32)
    x = torch.from_numpy(steps)
    module = Call(quantized.quantize, 1.0, 3)
    artifact = prunus.compile(module, target=target, example_inputs=(x,), name="quantize")
    assert torch.equal(torch.as_tensor(artifact.run_many([(x,)])[0]), module(x))
