"""Layer norm, RMS norm and group norm, along rows and with channels as lanes, equal PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunus.backends.kernels.channel_norm import ChannelNormalization
from prunus.backends.kernels.expression import Accumulator, Apply, Operand
from prunus.backends.kernels.family import Family
from prunus.backends.kernels.norm import Normalization
from tests.backends.kernels.harness import After, Layout, check_kernel
from tests.backends.kernels.strategies import FEW, layouts, on_a_grid, shapes

aten = torch.ops.aten
ROWS, CHANNELS = Normalization(), ChannelNormalization()
CHANNELS_LAST = Layout((0, 2, 3, 1), 1)
SUM_OF_BOTH = Apply("add", (Accumulator(), Operand(0, "float32")), "float32")
EPSILON = 1e-5


@FEW
@given(data=st.data())
def test_layer_norm_of_any_view(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))
    shape, trailing = data.draw(shapes(rank)), data.draw(st.integers(1, rank))
    normalized = list(shape[-trailing:])
    x = on_a_grid(*shape) + 3
    weight, bias = on_a_grid(*normalized, seed=1), on_a_grid(*normalized, seed=2)
    layout = data.draw(layouts(rank))
    constants = data.draw(st.sampled_from([(2, 3), (2,), ()]))
    check_kernel(
        ROWS, aten.layer_norm.default, (x, normalized, weight, bias, EPSILON), constants=constants, layouts={0: layout}
    )


@pytest.mark.parametrize("width", [1, 7, 16, 37, 192])
def test_every_way_of_rows(width: int) -> None:
    x, other = on_a_grid(3, 5, width), on_a_grid(5, 1, seed=3)
    after = After(SUM_OF_BOTH, torch.add, (other,))
    for weight, bias in ((None, None), (on_a_grid(width), None), (None, on_a_grid(width))):
        given = (x, [width], weight, bias, EPSILON)
        check_kernel(ROWS, aten.layer_norm.default, given, constants=(2, 3), after=after, knobs=3)
    check_kernel(ROWS, aten.rms_norm.default, (x, [width], on_a_grid(width), EPSILON), constants=(2,), in_place=0)
    check_kernel(ROWS, aten.rms_norm.default, (x, [width], None, EPSILON))


@FEW
@given(data=st.data())
def test_group_norm_of_any_view(data: st.DataObject) -> None:
    groups, channels = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    spatial = data.draw(st.integers(1, 2).flatmap(lambda rank: shapes(rank, 12)))
    x = on_a_grid(2, groups * channels, *spatial) + 3
    weight, bias = on_a_grid(groups * channels, seed=1), on_a_grid(groups * channels, seed=2)
    layout, output = data.draw(layouts(x.dim())), data.draw(layouts(x.dim()))
    given = (x, groups, weight, bias, EPSILON)
    check_kernel(
        ROWS, aten.group_norm.default, given, constants=(2, 3), layouts={0: layout}, output_layout=output, exact=True
    )


@pytest.mark.parametrize(("channels", "groups"), [(36, 6), (37, 37), (48, 4), (5, 1), (64, 32), (130, 13), (1, 1)])
def test_channels_as_lanes(channels: int, groups: int) -> None:
    x, other = on_a_grid(2, channels, 5, 7) + 3, on_a_grid(channels, 1, 1, seed=3)
    weight, bias = on_a_grid(channels, seed=1), on_a_grid(channels, seed=2)
    after = After(SUM_OF_BOTH, torch.add, (other,))
    given = (x, groups, weight, bias, EPSILON)
    both: dict[str, Any] = {"layouts": {0: CHANNELS_LAST}, "output_layout": CHANNELS_LAST}
    check_kernel(CHANNELS, aten.group_norm.default, given, constants=(2, 3), after=after, knobs=3, **both)
    check_kernel(CHANNELS, aten.group_norm.default, (x, groups, weight, None, EPSILON), in_place=0, **both)
    check_kernel(CHANNELS, aten.group_norm.default, (x, groups), layouts={0: CHANNELS_LAST})


@pytest.mark.parametrize("family", [ROWS, CHANNELS], ids=["rows", "channels"])
def test_a_mean_far_from_zero_keeps_its_digits(family: Family) -> None:
    given = (on_a_grid(2, 8, 6, 6) + 1000, 4, None, None, EPSILON)
    check_kernel(family, aten.group_norm.default, given, layouts={0: CHANNELS_LAST}, tolerance=3e-5, exact=True)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "rpi4", "rpi3-armhf"])
def test_other_targets(target: str) -> None:
    x, parameter = on_a_grid(2, 24, 5, 7), on_a_grid(24)
    given = (x, 12, parameter, parameter, EPSILON)
    check_kernel(ROWS, aten.group_norm.default, given, constants=(2, 3), target=target)
    check_kernel(CHANNELS, aten.group_norm.default, given, layouts={0: CHANNELS_LAST}, target=target)
