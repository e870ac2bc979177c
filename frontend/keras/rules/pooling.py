"""Pooling."""

from dataclasses import replace
from typing import Any

from prunus.frontend.builder import Value, rank_of, shape_of, windows
from prunus.frontend.builder.windows import Window, same_totals
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.layout import channels_back, channels_first, per_axis
from prunus.frontend.keras.table import Call, Rule, rule
from prunus.passes.graph import aten

_ADAPTIVE_AVERAGE = {
    1: aten.adaptive_avg_pool1d.default,
    2: aten.adaptive_avg_pool2d.default,
    3: aten.adaptive_avg_pool3d.default,
}


@rule("ops.MaxPool")
def max_pool(build: Builder, call: Call) -> Value:
    x = channels_first(build, call.x, call.data_format)
    return channels_back(build, windows.max_pool(build, x, _window(call, shape_of(x)[2:])), call.data_format)


@rule("ops.AveragePool")
def average_pool(build: Builder, call: Call) -> Value:
    """Padding does not count; Keras on PyTorch repeats the border instead where the two ends differ."""
    x = channels_first(build, call.x, call.data_format)
    window = _window(call, shape_of(x)[2:])
    if not window.symmetric and build.on_torch(call):
        x = build.call(aten.pad.default, x, window.torch_padding(), "replicate")
        window = replace(window, begin=(0,) * len(window.begin), end=(0,) * len(window.end))
    return channels_back(build, windows.average_pool(build, x, window), call.data_format)


@rule("ops.AdaptiveAveragePool")
def adaptive_average_pool(build: Builder, call: Call) -> Value:
    x = channels_first(build, call.x, call.data_format)
    rank = rank_of(x) - 2
    y = build.call(_ADAPTIVE_AVERAGE[rank], x, list(per_axis(call.output_size, rank)))
    return channels_back(build, y, call.data_format)


def _global(target: Any) -> Rule:
    """Pool over all of a picture; a rule of its own, since channels first need no permutation."""

    def pool(build: Builder, call: Call) -> Any:
        if len(call.args) > 1 or call.kwargs.get("mask") is not None:
            return build.open(call.operation.call, *call.args, **call.kwargs)
        x = channels_first(build, call.x, call.data_format)
        pooled = build.call(target, x, list(range(2, rank_of(x))), bool(call.keepdims))
        return channels_back(build, pooled, call.data_format) if call.keepdims else pooled

    return pool


for _rank in (1, 2, 3):
    rule(f"layers.GlobalAveragePooling{_rank}D")(_global(aten.mean.dim))
    rule(f"layers.GlobalMaxPooling{_rank}D")(_global(aten.amax.default))


def _window(call: Call, sizes: tuple[int, ...]) -> Window:
    rank = len(sizes)
    kernel = per_axis(call.pool_size, rank)
    stride = kernel if call.strides is None else per_axis(call.strides, rank)
    ones = (1,) * rank
    totals = same_totals(sizes, kernel, stride, ones) if call.padding == "same" else [0] * rank
    begin = tuple(total // 2 for total in totals)
    return Window(kernel, stride, ones, begin, tuple(t - b for t, b in zip(totals, begin, strict=True)))
