"""Learned steps: gradients against the papers' formulas, numbers kept by conversion, and training that helps."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Node

from prunus.compression import Quantize
from prunus.frontend.torch import import_torch
from prunus.passes import CANONICAL, Graph, run_passes
from prunus.passes.emit import Emitter
from prunus.passes.fake_quantization import FAKE
from prunus.passes.graph import calls, outputs, value
from prunus.passes.quantize import convert, freeze_batch_norm, prepare_training
from prunus.passes.quantize.grid import Grid
from prunus.passes.quantize.lsq import learn_activation, learn_weight
from prunus.passes.trainable import TrainableGraph
from tests.passes.quantize.networks import BY_NAME, everywhere


def one_fake(x: Tensor, write: Callable[[Emitter, Node], Node]) -> Graph:
    """Return a graph of one fake quantisation of its input."""
    graph = import_torch(nn.Identity(), (x,))
    (end,) = outputs(graph)
    last = next(node for node in graph.graph.nodes if node.op == "output")
    last.args = ((write(Emitter(graph, last, name="x"), end),),)
    graph.recompile()
    return graph


def gradients(graph: Graph) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in graph.named_parameters() if parameter.grad is not None}


def test_step_of_an_activation() -> None:
    """Esser et al. (2020), equation 3, on an unsigned grid: -v/s + round(v/s) inside, 0 and 255 outside."""
    x = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    grid, weights = Grid(0.007, -128), torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1))

    def write(emit: Emitter, node: Node) -> Node:
        found = learn_activation(emit, "x", grid, 35)
        return emit(FAKE, node, found.scale, found.zero_point, 0, -128, 127, found.factor)

    graph = one_fake(x.detach(), write)
    (graph(x)[0] * weights).sum().backward()
    (of_ratio,) = gradients(graph).values()
    v = x.detach() / grid.scale
    slope = torch.where(v <= 0, 0.0, torch.where(v >= 255, 255.0, torch.round(v) - v))
    expected = (slope * weights).sum() / math.sqrt(35 * 255)
    assert float(of_ratio) == pytest.approx(grid.scale * float(expected), rel=1e-4)  # a ratio moves s by s a unit
    assert x.grad is not None
    assert torch.equal(x.grad, weights * ((v > 0) & (v < 255)))


def test_step_of_a_weight() -> None:
    x = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scales, weights = (
        torch.tensor([0.1, 0.2, 0.3, 0.5]),
        torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(1)),
    )

    def write(emit: Emitter, node: Node) -> Node:
        found = learn_weight(emit, "x", scales, 9, 7)
        return emit(FAKE, node, found.scale, found.zero_point, 0, -8, 7, found.factor)

    graph = one_fake(x.detach(), write)
    (graph(x)[0] * weights).sum().backward()
    v = x.detach() / scales[:, None, None]
    slope = torch.where(v <= -8, -8.0, torch.where(v >= 7, 7.0, torch.round(v) - v))
    expected = scales * (slope * weights).sum((1, 2)) / math.sqrt(9 * 7)
    (of_ratios,) = gradients(graph).values()
    assert torch.allclose(of_ratios, expected, rtol=1e-4)


def test_offset_of_a_signed_tail() -> None:
    """Bhalgat et al. (2020): the offset has the gradients of what is clipped, the step none of those below."""
    x = torch.randn(200, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.randn(200, generator=torch.Generator().manual_seed(1))
    grid = Grid(0.01, -80)  # from -0.48 to 2.07

    def write(emit: Emitter, node: Node) -> Node:
        found = learn_activation(emit, "x", grid, 200)
        return emit(FAKE, node, found.scale, found.zero_point, 0, -128, 127, found.factor)

    graph = one_fake(x.detach(), write)
    (graph(x)[0] * weights).sum().backward()
    found = gradients(graph)
    v = x.detach() / grid.scale - 80
    below, above = v <= -128, v >= 127
    factor = 1 / math.sqrt(200 * 207)
    lowest = -48 * grid.scale
    assert found["steps.x_offset"] == pytest.approx(
        lowest * factor * float((weights * (below | above)).sum()), rel=1e-4
    )
    inside = ~below & ~above
    slope = torch.round(x.detach() / grid.scale) - x.detach() / grid.scale
    expected = factor * float((weights * (255.0 * above + slope * inside)).sum())
    assert found["steps.x_scale"] == pytest.approx(grid.scale * expected, rel=1e-3)


@pytest.fixture
def trainable() -> tuple[Graph, Tensor]:
    """A canonical graph with batch norm, and its samples."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4),
        nn.Hardswish(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 4 * 4, 5),
    ).eval()  # fmt: skip
    x = torch.randn(64, 3, 6, 6)
    return run_passes(import_torch(module, (x[:1],)), CANONICAL, (x[:1],)), x


def test_batch_norm_is_folded_in_training_and_frozen_exactly(trainable) -> None:
    graph, x = trainable
    prepared = prepare_training(graph, Quantize(calibration=[x], where="everywhere", training="lsq"), target="rpi4")
    learner = TrainableGraph(prepared)
    assert learner.any_batch
    learner.train()
    learner(x)  # moves the statistics
    learner.eval()
    with torch.no_grad():
        before = learner(x)
        freeze_batch_norm(prepared)
        after = TrainableGraph(prepared)(x)
    assert not list(calls(prepared, torch.ops.aten.batch_norm))
    assert float((before - after).abs().max()) <= 0.05 * float(before.abs().max())
    assert float((before - after).abs().mean()) <= 2e-3 * float(before.abs().max())


def test_training_helps_and_conversion_keeps_it(trainable, operators) -> None:
    graph, x = trainable
    config = Quantize(calibration=[x], where="everywhere", training="lsq", bits=3)
    with torch.no_grad():
        truth = TrainableGraph(graph)(x)
    prepared = freeze_batch_norm(prepare_training(copy.deepcopy(graph), config, target="rpi4"))
    learner = TrainableGraph(prepared)

    def loss() -> Tensor:
        error: Tensor = (learner(x) - truth).square().mean() / truth.var()
        return error

    before = float(loss().detach())
    optimizer = torch.optim.Adam(learner.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)  # steps that shrink leave no last jump
    for _ in range(300):
        optimizer.zero_grad()
        error = loss()
        error.backward()
        optimizer.step()
        schedule.step()
    after = float(loss().detach())
    assert after < 0.5 * before
    whole = convert(prepared, config)
    assert operators(whole) == ["quantize", "qconv", "qconv", "qlookup", "reshape", "qlinear_dequant"]
    assert value(outputs(whole)[0]).dtype == torch.float32
    with torch.no_grad():
        converted = float((TrainableGraph(whole)(x) - truth).square().mean() / truth.var())
    assert converted == pytest.approx(after, rel=0.05)
    assert {row.weight_bits for row in whole.meta["quantization"]} == {3}


def test_tied_values_share_a_step(folded) -> None:
    network = BY_NAME["pools"]
    prepared = prepare_training(folded(network, CANONICAL), everywhere(network, training="lsq"))
    names = [name for name, _ in prepared.named_parameters() if name.startswith("steps.max_pool")]
    assert not names
