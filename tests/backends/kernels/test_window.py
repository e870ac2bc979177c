"""Axes of sliding windows against brute force."""

import itertools

from hypothesis import assume, given
from hypothesis import strategies as st

from prunus.backends.kernels.window import Axis

Pair = tuple[int, int, int]


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size, kernel, stride = draw(st.integers(1, 12)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    dilation, padding, transposed = draw(st.integers(1, 3)), draw(st.integers(0, 4)), draw(st.booleans())
    reach = dilation * (kernel - 1)
    if transposed:
        output = (size - 1) * stride - 2 * padding + reach + 1 + draw(st.integers(0, stride - 1))
    else:
        output = (size + 2 * padding - reach - 1) // stride + 1
    assume(output > 0)
    return Axis(size, output, kernel, stride, dilation, padding, transposed)


def expected(axis: Axis) -> set[Pair]:
    """Return all (output, input, tap) by definition."""
    taps, inputs, outputs = range(axis.kernel), range(axis.input_size), range(axis.output_size)
    if axis.transposed:
        found = {(i * axis.stride - axis.padding + tap * axis.dilation, i, tap) for i in inputs for tap in taps}
    else:
        found = {(o, o * axis.stride - axis.padding + tap * axis.dilation, tap) for o in outputs for tap in taps}
    return {(o, i, tap) for o, i, tap in found if o in outputs and i in inputs}


@given(axes())
def test_phases_read_what_the_definition_reads(axis: Axis) -> None:
    found = {
        (phase.output(q), q * phase.input_step + phase.taps.offset(i), phase.taps.tap(i))
        for phase in axis.phases()
        for q in range(phase.outputs)
        for i in phase.valid(q)
    }
    assert found == expected(axis)
    assert axis.macs() == len(found)


@given(axes())
def test_sections_are_the_runs_of_outputs_with_equal_taps(axis: Axis) -> None:
    for phase in axis.phases():
        firsts = phase.sections()
        runs = [range(a, b) for a, b in itertools.pairwise((*firsts, phase.outputs))]
        assert [q for run in runs for q in run] == list(range(phase.outputs))
        taps = [[phase.valid(q) for q in run] for run in runs]
        assert all(found == one[0] for one in taps for found in one)
        assert all(a[0] != b[0] for a, b in itertools.pairwise(taps))


@given(axes(), st.integers(1, 9))
def test_tiles_cover_all_outputs_once(axis: Axis, width: int) -> None:
    for phase in axis.phases():
        covered: list[int] = []
        for tile in phase.tiles(width):
            assert tile.width <= width
            for repeat in range(tile.repeats):
                start = tile.start + repeat * tile.width
                covered += range(start, start + tile.width)
                for i in range(phase.taps.count):
                    served = [p for p in range(tile.width) if i in phase.valid(start + p)]
                    assert served == list(tile.served(i))
        assert covered == list(range(phase.outputs))


@given(axes())
def test_clean_outputs_read_through_every_tap(axis: Axis) -> None:
    for phase in axis.phases():
        begin, end = phase.clean()
        assert all(len(phase.valid(q)) == phase.taps.count for q in range(begin, end))
