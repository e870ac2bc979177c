"""What each kind of layer lets go together, on networks that are small enough to say so by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from prunus.frontend import import_model
from prunus.passes.canonical import canonical
from prunus.passes.decompose import KEPT
from prunus.passes.prune import apply_cut, describe, trace
from prunus.passes.prune.groups import Group
from prunus.passes.prune.rules import RULES
from prunus.passes.prune.units import Axes, find_units


def groups_of(module: nn.Module, *inputs: Tensor) -> dict[str, Group]:
    plan = describe(import_model(module.eval(), example_inputs=inputs))
    return {part.group.name: part.group for part in plan.parts}


class Between(nn.Module):
    """A convolution, some function, and a layer that reads the result."""

    def __init__(self, function: Callable[[Tensor], Tensor], head: nn.Module, channels: int = 6) -> None:
        super().__init__()
        self.first, self.head, self.function = nn.Conv2d(3, channels, 3, padding=1), head, function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.first(x)))


X = torch.randn(2, 3, 5, 4)


def test_every_kept_operator_has_a_rule() -> None:
    assert not {str(target) for target in KEPT if target not in RULES}


def test_plain_convolution() -> None:
    groups = groups_of(Between(torch.relu, nn.Conv2d(6, 2, 1)), X)
    assert list(groups) == ["first"]
    assert [str(one) for one in groups["first"].coupled] == ["first.weight[1]", "first.bias[1]", "head.weight[:, 1]"]
    assert len(groups["first"].units) == 6


def test_flattened_channel_takes_a_block() -> None:
    groups = groups_of(Between(lambda x: x.flatten(1), nn.Linear(6 * 20, 2)), X)
    assert [str(one) for one in groups["first"].coupled][-1] == "head.weight[:, 20]"


@pytest.mark.parametrize(("groups", "units"), [(1, [6, 4]), (2, [3, 2, 2]), (6, [6])], ids=str)
def test_grouped_convolution(groups: int, units: list[int]) -> None:
    """Whole groups, or a channel of every group before and after; a depthwise channel is a group."""
    channels = 6 if groups == 6 else 4
    head = nn.Sequential(nn.Conv2d(6, channels, 3, groups=groups), nn.ReLU(), nn.Conv2d(channels, 5, 1))
    found = groups_of(Between(torch.relu, head), X)
    assert sorted(len(group.units) for group in found.values()) == sorted(units)


def test_cut_group_lowers_groups() -> None:
    head = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 5, 1))
    whole = trace(canonical(import_model(Between(torch.relu, head).eval(), example_inputs=(X,))))
    units = find_units(whole, Axes(whole))
    graph = apply_cut(whole, units[0].classes | units[3].classes).graph
    (depthwise,) = (node for node in graph.graph.nodes if node.name == "conv2d_1")
    assert depthwise.args[-1] == 4


def test_transposed_convolution() -> None:
    head = nn.Sequential(nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(4, 2, 1))
    groups = groups_of(Between(torch.relu, head), X)
    assert {name: len(group.units) for name, group in groups.items()} == {"first": 6, "head.0": 4}
    assert "head.0.weight[:, 1]" in map(str, groups["head.0"].coupled)


def test_concatenation_keeps_its_parts_apart() -> None:
    groups = groups_of(Between(lambda x: torch.cat([x[:, 2:5], torch.sigmoid(x)], 1), nn.Conv2d(9, 2, 1)), X)
    assert {name: len(group.units) for name, group in groups.items()} == {"first": 3, "first#2": 3}
    assert sorted(group.coupled[-1].count for group in groups.values()) == [1, 2]


def test_channel_shuffle_takes_one_of_each_half() -> None:
    shuffle = nn.ChannelShuffle(2)
    groups = groups_of(Between(shuffle, nn.Conv2d(6, 2, 1)), X)
    assert max(len(group.units) for group in groups.values()) == 3
    assert any("head.weight[:, 2]" in map(str, group.coupled) for group in groups.values())


def test_residual_and_scale_go_together() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Conv2d(3, 7, 1), nn.Conv2d(7, 2, 1)
            self.body, self.gate = nn.Conv2d(7, 7, 1), nn.Conv2d(7, 7, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.enter(x)
            return self.leave((x + self.body(x)) * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())

    groups = groups_of(Net(), X)
    assert groups["enter"].layers == ("enter", "body", "gate")
    assert len(groups) == 1


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x.softmax(1), "every element depends on all"),
        (lambda x: x.mean(1, keepdim=True) + x, "it reduces this dimension"),
        (lambda x: x[:, ::2].repeat(1, 2, 1, 1), "it takes one in 2"),
        (lambda x: functional.pixel_shuffle(x[:, :4], 2).repeat(1, 6, 1, 1), "its window moves along this dimension"),
    ],
)
def test_channels_that_stay(function: Callable[[Tensor], Tensor], reason: str) -> None:
    plan = describe(import_model(Between(function, nn.Conv2d(6, 2, 1)).eval(), example_inputs=(X,)))
    (first,) = (one for one in plan.protected if one.layer == "first")
    assert reason in first.reason.text or first.channels < first.total
    assert first.layer in str(plan)


def test_operator_without_a_rule_freezes_what_it_touches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RULES, torch.ops.aten.relu.default)
    plan = describe(import_model(Between(torch.relu, nn.Conv2d(6, 2, 1)).eval(), example_inputs=(X,)))
    assert not plan.parts
    (first,) = (one for one in plan.protected if one.layer == "first")
    assert "no rule for aten.relu" in first.reason.text
    assert first.reason.node == "relu"


def test_group_norm_lets_groups_go_exactly() -> None:
    groups = groups_of(Between(nn.GroupNorm(3, 6), nn.Conv2d(6, 2, 1)), X)
    assert {(len(group.units), group.inexact is None) for group in groups.values()} == {(3, True), (2, False)}


def test_attention_heads_and_features() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(8, 12) for _ in range(3))
            self.out = nn.Linear(12, 8)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (layer(x).reshape(2, 5, 3, 4).transpose(1, 2) for layer in (self.query, self.key, self.value))
            return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 12))

    groups = groups_of(Attention(), torch.randn(2, 5, 8))
    by_layers = {(group.layers, len(group.units)) for group in groups.values()}
    assert (("query", "key", "value"), 3) in by_layers  # heads
    assert (("query", "key"), 4) in by_layers
    assert (("value",), 4) in by_layers


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_hidden_units(kind: type[nn.Module]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.head = kind(3, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layers(x)[0][:, -1])

    (group,) = groups_of(Net(), torch.randn(2, 4, 3)).values()
    assert len(group.units) == 5
    assert "head.weight[:, 2]" in map(str, group.coupled)


def test_shared_weights_are_cut_once() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.mix = nn.Embedding(11, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(self.mix(self.words(x)).relu(), self.words.weight)

    groups = groups_of(Net(), torch.randint(11, (2, 3)))
    assert [len(group.units) for group in groups.values()] == [6]
