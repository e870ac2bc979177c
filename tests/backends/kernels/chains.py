"""Checks one element-wise operator as a kernel of its own against PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from prunus.backends.kernels.elementwise import ElementwiseChain
from prunus.backends.kernels.expression import Expression, Operand
from prunus.backends.kernels.family import Match, No, Request
from prunus.backends.kernels.scalar_rules import apply_rule
from prunus.targets import Target, load_target
from tests.backends.kernels.execution import can_run, skip_unless_run
from tests.backends.kernels.harness import Layout, Placed, compare, dtype_name, make_node, run


def check_operator(operator: Any, *arguments: Any, keywords: dict[str, Any] | None = None, **options: Any) -> Match:
    """Compare the kernel of one ATen call with PyTorch; `options` are those of `check_expression`."""
    result = operator(*arguments, **(keywords or {}))
    node = make_node(operator, arguments, (), result)
    node.kwargs = keywords or {}
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    operands = (Operand(index, dtype_name(tensor.dtype)) for index, tensor in enumerate(tensors))
    expression = apply_rule(node, dict(zip(node.all_input_nodes, operands, strict=True)))
    return check_expression(expression, result, *tensors, **options)


def check_expression(
    expression: Expression,
    truth: Tensor,
    *operands: Tensor,
    layouts: Sequence[Layout] = (),
    output_layout: Layout | None = None,
    target: Target | str = "native",
    knobs: int = 1,
    in_place: int | None = None,
    tolerance: float = 2e-6,
    equal: Callable[[Tensor], None] | None = None,
) -> Match:
    """Compute an expression over operands that broadcast to the shape of `truth`, and compare.

    Args:
        expression: what to compute.
        truth: what must come out.
        operands: read where `layouts` puts them.
        output_layout: how the output lies in memory.
        knobs: how many ways of computing are checked.
        in_place: the operand whose memory the output takes over.
        tolerance: largest error as a share of the largest output.
        equal: compares the output in another way.
    """
    target, family = load_target(target), ElementwiseChain()
    places = [*layouts, *[Layout()] * (len(operands) - len(layouts))]
    placed = [
        Placed(f"operand{index}", tensor, place, truth.shape)
        for index, (tensor, place) in enumerate(zip(operands, places, strict=True))
    ]
    output = Placed("output", truth.clone().zero_(), output_layout or Layout())
    request = Request(None, {}, {}, expression, tuple(item.view for item in placed), (output.view,))
    match = family.match(request, target)
    assert not isinstance(match, No), match.reason
    if in_place is not None:
        assert in_place in match.shares
        output = placed[in_place]
    for knob in family.knobs(match.problem, target)[:knobs]:
        for item in (*placed, output):
            item.restore()
        run(family, match, knob, target, [], [item.pointer for item in placed], [output.pointer])
        if not can_run(target):
            continue
        if equal is not None:
            equal(output.window)
        else:
            compare(output.window, truth, tolerance, knob)
        for item in (*placed, output):
            assert item.unchanged(outside=item is output), f"{knob} writes where it must not"
    skip_unless_run(target)
    return match
