"""What each step of a program touches."""

from dataclasses import replace

from prunus.backends.plan.flow import Flow, trace
from prunus.backends.plan.program import Arena, Buffer, KernelSpec, Program, Step, Storage, Tensor, View
from prunus.targets import load_target


def buffer(name: str, storage: Storage) -> Buffer:
    return Buffer(name, storage, "float32", 8)


def view(of: Buffer, offset: int = 0, size: int = 8) -> View:
    return View(of, offset, (size,), (1,))


X, Y = buffer("x", Storage.INPUT), buffer("y", Storage.OUTPUT)
WHOLE, WEIGHT = buffer("whole", Storage.ARENA), buffer("w", Storage.CONSTANT)
LEFT, RIGHT = view(WHOLE, 0, 4), view(WHOLE, 4, 4)


def step(*arguments: View) -> Step:
    """A step that writes its last argument."""
    return Step(KernelSpec("copy", None, None), arguments, (len(arguments) - 1,), 1)


def flows(*steps: Step) -> list[Flow]:
    program = Program(
        name="net", target=load_target("rpi4"), steps=steps, constants={}, arena=Arena({}, 0, 0, 0, 0), max_threads=1,
        inputs=(Tensor("image", "float32", (8,), X),), outputs=(Tensor("scores", "float32", (8,), Y),),
    )  # fmt: skip
    return trace(program)


def test_chain() -> None:
    whole = view(WHOLE)
    found = flows(step(view(X), view(WEIGHT), whole), step(whole, view(Y)))
    assert found == [Flow((), ("image",), ()), Flow((0,), (), ("scores",))]


def test_parts_of_a_concatenation() -> None:
    """A reader of one part follows its producer, a reader of the whole follows both."""
    found = flows(step(view(X), LEFT), step(view(X), RIGHT), step(RIGHT, view(Y)), step(view(WHOLE), view(Y)))
    assert [flow.after for flow in found] == [(), (), (1,), (0, 1)]


def test_in_place() -> None:
    """The reader of what was written twice follows both."""
    whole = view(WHOLE)
    found = flows(step(view(X), whole), replace(step(whole, whole)), step(whole, view(Y)))
    assert [flow.after for flow in found] == [(), (0,), (0, 1)]
