"""What flows where: which steps, inputs and outputs each step of a program touches."""

from dataclasses import dataclass

from prunus.backends.plan.program import Program, View


@dataclass(frozen=True)
class Flow:
    """Neighbours of one step.

    Attributes:
        after: places of the earlier steps whose results it reads.
        reads: names of the model's inputs that it reads.
        writes: names of the model's outputs that it writes.
    """

    after: tuple[int, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def trace(program: Program) -> list[Flow]:
    """Return the flow of each step, in order.

    A step that reads what one step wrote follows that step; one that reads any other view of a buffer follows all steps
    that wrote into it, as the reader of a concatenation does.
    """
    inputs = {tensor.buffer: tensor.name for tensor in program.inputs}
    outputs = {tensor.buffer: tensor.name for tensor in program.outputs}
    written: list[tuple[int, View]] = []
    flows = []
    for index, step in enumerate(program.steps):
        after: set[int] = set()
        for view in step.read_views:
            same = [place for place, other in written if other == view]
            after.update(same or (place for place, other in written if other.buffer == view.buffer))
        reads = dict.fromkeys(inputs[view.buffer] for view in step.read_views if view.buffer in inputs)
        writes = dict.fromkeys(outputs[view.buffer] for view in step.written_views if view.buffer in outputs)
        flows.append(Flow(tuple(sorted(after)), tuple(reads), tuple(writes)))
        written.extend((index, view) for view in step.written_views)
    return flows
