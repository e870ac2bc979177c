"""Lists of tensors, which exporters write for `chunk`, `split` and `unbind`: they are taken apart while importing."""

from prunus.frontend.builder import Value, normalized_axis, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.onnx.values import TensorSequence
from prunus.passes.graph import aten


@operator("SequenceConstruct")
def sequence_construct(build: Builder, op: Operation) -> TensorSequence:
    return TensorSequence(tuple(op.value(index) for index in range(len(op.inputs))))


@operator("SplitToSequence")
def split_to_sequence(build: Builder, op: Operation) -> TensorSequence:
    """One size is that of every part but the last; none at all means 1, whose axis `keepdims` may drop."""
    x, held = op.value(0), op.constant(1)
    axis = normalized_axis(op.attribute("axis", 0), rank_of(x))
    total = shape_of(x)[axis]
    if held is not None and held.dim() == 1:
        sizes = [int(size) for size in held]
    else:
        step = 1 if held is None else int(held)
        sizes = [min(step, total - start) for start in range(0, total, step)]
    parts = build.call_many(aten.split_with_sizes.default, x, sizes, axis)
    if held is None and not op.attribute("keepdims", 1):
        parts = tuple(build.call(aten.squeeze.dims, part, [axis]) for part in parts)
    return TensorSequence(parts)


@operator("SequenceAt")
def sequence_at(build: Builder, op: Operation) -> Value:
    position = op.constant(1)
    assert position is not None
    return _sequence(op).items[int(position)]


@operator("ConcatFromSequence")
def concat_from_sequence(build: Builder, op: Operation) -> Value:
    axis, parts = op.attribute("axis"), list(_sequence(op).items)
    target = aten.stack.default if op.attribute("new_axis", 0) else aten.cat.default
    return build.call(target, parts, axis)


def _sequence(op: Operation) -> TensorSequence:
    found = op.inputs[0]
    assert isinstance(found, TensorSequence), f"input 0 of {op} is no sequence"
    return found
