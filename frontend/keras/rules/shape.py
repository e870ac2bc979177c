"""Operations that move elements: shapes, cuts, joins, padding."""

import math
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, rule
from prunus.passes.graph import aten


@rule("ops.Reshape")
def reshape(build: Builder, call: Call) -> Value:
    x, wanted = build.value(call.x), [call.newshape] if isinstance(call.newshape, int) else list(call.newshape)
    if -1 in wanted or None in wanted:
        known = math.prod(size for size in wanted if size not in (-1, None))
        wanted = [math.prod(shape_of(x)) // max(known, 1) if size in (-1, None) else size for size in wanted]
    return arithmetic.reshape(build, x, [int(size) for size in wanted])


@rule("layers.Flatten")
def flatten(build: Builder, call: Call) -> Value:
    """Channels come last in the result, as Keras flattens them, whatever the layout."""
    x = call.x
    if call.data_format == "channels_first" and rank_of(x) > 1:
        x = arithmetic.permute(build, x, [0, *range(2, rank_of(x)), 1])
    return arithmetic.reshape(build, x, [shape_of(x)[0], math.prod(shape_of(x)[1:])])


@rule("ops.Ravel")
def ravel(build: Builder, call: Call) -> Value:
    return arithmetic.reshape(build, call.x, [math.prod(shape_of(call.x))])


@rule("ops.Transpose")
def transpose(build: Builder, call: Call) -> Value:
    rank = rank_of(call.x)
    axes = reversed(range(rank)) if call.axes is None else call.axes
    return arithmetic.permute(build, call.x, [axis % rank for axis in axes])


@rule("ops.Swapaxes")
def swap_axes(build: Builder, call: Call) -> Value:
    rank = rank_of(call.x)
    order = list(range(rank))
    order[call.axis1], order[call.axis2] = order[call.axis2], order[call.axis1]
    return arithmetic.permute(build, build.value(call.x), order)


@rule("ops.Moveaxis")
def move_axis(build: Builder, call: Call) -> Value:
    order = np.moveaxis(np.empty(range(1, rank_of(call.x) + 1)), call.source, call.destination).shape
    return arithmetic.permute(build, call.x, [size - 1 for size in order])


@rule("ops.ExpandDims")
def expand_dims(build: Builder, call: Call) -> Value:
    axes = [call.axis] if isinstance(call.axis, int) else list(call.axis)
    shape = np.expand_dims(np.empty(shape_of(call.x), dtype=np.int8), tuple(axes)).shape
    return arithmetic.reshape(build, call.x, shape)


@rule("ops.Squeeze")
def squeeze(build: Builder, call: Call) -> Value:
    sizes, axis = shape_of(call.x), call.axis
    if axis is None:
        return arithmetic.reshape(build, call.x, [size for size in sizes if size != 1])
    dropped = {dim % len(sizes) for dim in ([axis] if isinstance(axis, int) else axis)}
    return arithmetic.reshape(build, call.x, [size for dim, size in enumerate(sizes) if dim not in dropped])


@rule("ops.BroadcastTo")
def broadcast_to(build: Builder, call: Call) -> Value:
    return build.call(aten.expand.default, build.value(call.x), list(call.shape))


@rule("ops.Concatenate")
def concatenate(build: Builder, call: Call) -> Value:
    return build.call(aten.cat.default, _alike(build, call.x), -1 if call.axis is None else call.axis)


@rule("ops.Hstack")
def stack_horizontally(build: Builder, call: Call) -> Value:
    items = _alike(build, call.x)
    return build.call(aten.cat.default, items, 0 if rank_of(items[0]) == 1 else 1)


@rule("ops.Vstack")
def stack_vertically(build: Builder, call: Call) -> Value:
    items = [arithmetic.reshape(build, x, [1, *shape_of(x)]) if rank_of(x) == 1 else x for x in _alike(build, call.x)]
    return build.call(aten.cat.default, items, 0)


@rule("ops.Stack")
def stack(build: Builder, call: Call) -> Value:
    return build.call(aten.stack.default, _alike(build, call.x), call.axis)


@rule("ops.Unstack")
def unstack(build: Builder, call: Call) -> list[Value]:
    return [build.call(aten.select.int, call.x, call.axis, place) for place in range(shape_of(call.x)[call.axis])]


@rule("ops.Split", "ops.ArraySplit")
def split(build: Builder, call: Call) -> list[Value]:
    size, sections = shape_of(call.x)[call.axis], call.indices_or_sections
    if isinstance(sections, int):
        share, more = divmod(size, sections)
        ends = np.cumsum([share + (part < more) for part in range(sections)]).tolist()
    else:
        ends = [*(int(end) for end in sections), size]
    starts = [0, *ends[:-1]]
    return [
        build.call(aten.slice.Tensor, call.x, call.axis, start, end) for start, end in zip(starts, ends, strict=True)
    ]


@rule("ops.Repeat")
def repeat(build: Builder, call: Call) -> Value:
    """Repeat each element along an axis; one repetition count for all."""
    x, repeats, axis = call.x, call.repeats, call.axis
    if axis is None:
        x, axis = arithmetic.reshape(build, x, [math.prod(shape_of(x))]), 0
    if not isinstance(repeats, int) and len(set(np.ravel(repeats).tolist())) > 1:
        places = np.repeat(np.arange(shape_of(x)[axis]), repeats)
        return build.call(aten.index_select.default, x, axis, torch.from_numpy(places))
    count, sizes = int(np.ravel(repeats)[0]), list(shape_of(x))
    axis %= len(sizes)
    wide = build.call(aten.unsqueeze.default, x, axis + 1)
    spread = build.call(aten.expand.default, wide, [*sizes[: axis + 1], count, *sizes[axis + 1 :]])
    return arithmetic.reshape(build, spread, [*sizes[:axis], sizes[axis] * count, *sizes[axis + 1 :]])


@rule("ops.Tile")
def tile(build: Builder, call: Call) -> Value:
    repeats = [call.repeats] if isinstance(call.repeats, int) else list(call.repeats)
    return build.call(aten.repeat.default, call.x, [1] * (rank_of(call.x) - len(repeats)) + repeats)


@rule("ops.Flip")
def flip(build: Builder, call: Call) -> Value:
    axis = call.axis
    axes = list(range(rank_of(call.x))) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    return build.call(aten.flip.default, call.x, axes)


@rule("ops.Roll")
def roll(build: Builder, call: Call) -> Value:
    shifts, axes = (
        [] if numbers is None else [numbers] if isinstance(numbers, int) else list(numbers)
        for numbers in (call.shift, call.axis)
    )  # fmt: skip
    return build.call(aten.roll.default, call.x, shifts, axes)


@rule("ops.Pad")
def pad(build: Builder, call: Call) -> Value:
    x, widths = call.x, np.broadcast_to(np.asarray(call.pad_width), (rank_of(call.x), 2)).tolist()
    flat = [int(width) for pair in reversed(widths) for width in pair]
    if call.mode == "constant":
        number = call.argument(1, "constant_values")
        return build.call(aten.constant_pad_nd.default, x, flat, 0.0 if number is None else float(number))
    return _padded_by_places(build, call, x, widths)


def _padded_by_places(build: Builder, call: Call, x: Value, widths: list[list[int]]) -> Value:
    """Read the border again, in NumPy's modes (`reflect`, `symmetric`, `edge`, `wrap`)."""
    for axis, (before, after) in enumerate(widths):
        if before or after:
            places = np.pad(np.arange(shape_of(x)[axis]), (before, after), mode=call.mode)
            x = build.call(aten.index_select.default, x, axis, torch.from_numpy(places))
    return x


@rule("ops.GetItem")
def get_item(build: Builder, call: Call) -> Value:
    """Numbers, slices, ellipses and new axes; arrays of places along one axis."""
    x, key = call.x, call.argument(1, "key")
    keys = list(key) if isinstance(key, (tuple, list)) else [key]
    taken = sum(item is not None and item is not Ellipsis for item in keys)
    if not any(item is Ellipsis for item in keys):
        keys.append(Ellipsis)
    axis = 0
    for item in keys:
        if item is Ellipsis:
            axis += rank_of(call.x) - taken
        elif item is None:
            x = build.call(aten.unsqueeze.default, x, axis)
            axis += 1
        elif isinstance(item, slice):
            x = _sliced(build, x, axis, item)
            axis += 1
        elif isinstance(item, (int, np.integer)):
            x = build.call(aten.select.int, x, axis, int(item) % shape_of(x)[axis])
        else:
            places = build.value(item)
            if not isinstance(places, (torch.Tensor, Node)) or dtype_of(places) is torch.bool:
                raise call.refuse(f"an index of type {type(item).__name__}")
            x = taken_along(build, x, axis, places)
            axis += rank_of(places)
    return x


def _sliced(build: Builder, x: Value, axis: int, item: slice) -> Value:
    start, stop, step = item.indices(shape_of(x)[axis])
    if step < 0:
        places = torch.arange(start, stop, step) if stop >= 0 else torch.arange(start, -1, step)
        return build.call(aten.index_select.default, x, axis, places)
    if (start, stop, step) == (0, shape_of(x)[axis], 1):
        return x
    return build.call(aten.slice.Tensor, x, axis, start, max(stop, start), step)


@rule("ops.Slice")
def slice_of(build: Builder, call: Call) -> Value:
    x, starts = call.x, np.ravel(build.value(torch.as_tensor(call.argument(1, "start_indices")))).tolist()
    for axis, (start, size) in enumerate(zip(starts, call.shape, strict=True)):
        x = _sliced(build, x, axis, slice(int(start), int(start) + int(size)))
    return x


@rule("ops.Take")
def take(build: Builder, call: Call) -> Value:
    x, places, axis = build.value(call.x), build.value(call.argument(1, "indices")), call.axis
    if axis is None:
        x, axis = arithmetic.reshape(build, x, [math.prod(shape_of(x))]), 0
    if isinstance(places, int):
        return build.call(aten.select.int, x, axis, places % shape_of(x)[axis])
    places = torch.as_tensor(places) if not isinstance(places, Node) else places
    if dtype_of(places).is_floating_point:
        places = arithmetic.cast(build, places, torch.int32)
    if isinstance(x, torch.Tensor) and x.dim() == 2 and x.is_floating_point() and axis % 2 == 0:
        return build.call(aten.embedding.default, build.parameter(x), places)
    return taken_along(build, x, axis % rank_of(x), places)


def taken_along(build: Builder, x: Value, axis: int, places: Value) -> Value:
    """Return the elements of `x` at `places`, of any shape, along an axis."""
    if isinstance(places, torch.Tensor):
        places = torch.where(places < 0, places + shape_of(x)[axis], places)
        if places.dim() == 0:
            return build.call(aten.select.int, x, axis, int(places))
    sizes, shape = shape_of(x), shape_of(places)
    flat = arithmetic.reshape(build, places, [math.prod(shape)])
    rows = build.call(aten.index_select.default, x, axis, flat)
    return arithmetic.reshape(build, rows, [*sizes[:axis], *shape, *sizes[axis + 1 :]])


@rule("ops.TakeAlongAxis")
def take_along_axis(build: Builder, call: Call) -> Value:
    """Places and elements are broadcast against each other along all other axes."""
    x, places, axis = call.x, build.value(call.argument(1, "indices")), call.axis % rank_of(call.x)
    wide = list(np.broadcast_shapes(*(_without(shape_of(value), axis) for value in (x, places))))
    x, places = (_broadcast(build, value, wide, axis) for value in (x, places))
    return build.call(aten.gather.default, x, axis, arithmetic.cast(build, places, torch.int64))


def _without(sizes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*sizes[:axis], 1, *sizes[axis + 1 :])


def _broadcast(build: Builder, value: Value, sizes: list[int], axis: int) -> Value:
    """Return a value as wide as `sizes` but along `axis`."""
    wanted = [*sizes[:axis], shape_of(value)[axis], *sizes[axis + 1 :]]
    return value if list(shape_of(value)) == wanted else build.call(aten.expand.default, value, wanted)


@rule("ops.Tril")
def lower_triangle(build: Builder, call: Call) -> Value:
    return build.call(aten.tril.default, call.x, call.k)


@rule("ops.Triu")
def upper_triangle(build: Builder, call: Call) -> Value:
    return build.call(aten.triu.default, call.x, call.k)


def _alike(build: Builder, items: Any) -> list[Value]:
    """Return values of one dtype, the one that they promote to."""
    values = [build.value(item) for item in items]
    dtype = dtype_of(values[0])
    for value in values[1:]:
        dtype = torch.promote_types(dtype, dtype_of(value))
    return [arithmetic.cast(build, value, dtype) for value in values]
