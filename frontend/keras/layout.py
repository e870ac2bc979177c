"""Keras keeps channels last by default, PyTorch first."""

from typing import Any

import keras

from prunus.frontend.builder import GraphBuilder, Value, arithmetic, rank_of


def is_last(data_format: str | None) -> bool:
    """Tell whether channels are the last dimension; None stands for Keras' setting."""
    return (data_format or keras.config.image_data_format()) == "channels_last"


def channels_first(build: GraphBuilder, x: Value, data_format: str | None) -> Value:
    """Return [batch, channels, *sizes]."""
    return axis_second(build, x, -1) if is_last(data_format) else x


def channels_back(build: GraphBuilder, x: Value, data_format: str | None) -> Value:
    """Return [batch, channels, *sizes] in the layout that it came from."""
    return second_back(build, x, -1) if is_last(data_format) else x


def axis_second(build: GraphBuilder, x: Value, axis: int) -> Value:
    """Return `x` with dimension `axis` moved to the second place, where norms of PyTorch have their channels."""
    rank = rank_of(x)
    others = [dim for dim in range(rank) if dim not in (0, axis % rank)]
    return arithmetic.permute(build, x, [0, axis % rank, *others])


def second_back(build: GraphBuilder, x: Value, axis: int) -> Value:
    """Return `x` with its second dimension moved back to place `axis`."""
    rank = rank_of(x)
    others = iter([dim for dim in range(rank) if dim not in (0, 1)])
    order = [0 if dim == 0 else 1 if dim == axis % rank else next(others) for dim in range(rank)]
    return arithmetic.permute(build, x, order)


def per_axis(numbers: Any, rank: int) -> tuple[int, ...]:
    """Return one number for each of `rank` dimensions, where Keras takes a number or several."""
    return (int(numbers),) * rank if isinstance(numbers, int) else tuple(int(number) for number in numbers)
