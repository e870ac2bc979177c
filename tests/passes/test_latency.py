"""Times of graphs: estimated, measured, and in between."""

import pytest
import torch

from prunus.backends.plan.program import Program
from prunus.compression import Prune
from prunus.frontend import import_model
from prunus.passes import FOLD, run_passes
from prunus.passes.canonical import canonical
from prunus.passes.graph import Graph, calls
from prunus.passes.latency import EstimatedLatency, MeasuredLatency, latency_model
from prunus.passes.prune import prune
from prunus.targets import load_target
from tests.networks import FAMILIES

NATIVE = load_target("native")


class Threefold(MeasuredLatency):
    """A machine that takes three times what is estimated."""

    def _times_ms(self, graph: Graph, program: Program) -> list[float]:
        return [3 * step.cost_cycles / (self.target.clock_mhz * 1000) for step in program.steps]


@pytest.fixture(scope="module")
def graph() -> Graph:
    module, inputs = FAMILIES["ds-cnn"]()
    return canonical(import_model(module, example_inputs=inputs))


def test_an_estimate_is_the_sum_of_its_steps(graph: Graph) -> None:
    model = EstimatedLatency(load_target("rpi4"))
    steps = model.steps(graph)
    assert model.latency_ms(graph) == pytest.approx(sum(time_us for _, time_us in steps) / 1000)
    layers = [node.name for node in calls(run_passes(graph, FOLD), torch.ops.aten.conv2d.default)]
    named = [name for names, _ in steps for name in names]
    assert layers
    assert all(named.count(layer) == 1 for layer in layers)


def test_kernels_are_timed_here(graph: Graph) -> None:
    model = MeasuredLatency(NATIVE, seconds=0.0)
    found = model.settle_ms(graph)
    assert found > 0
    assert model.latency_ms(graph) == found  # from the table


def test_other_processors_are_estimated() -> None:
    assert latency_model(NATIVE) == MeasuredLatency(NATIVE)
    assert latency_model(load_target("rpi4")) == EstimatedLatency(load_target("rpi4"))


def test_times_between_measured_widths_are_interpolated(graph: Graph) -> None:
    """Where the estimate is off by the same factor everywhere, every time follows from two."""
    model, estimate = Threefold(NATIVE), EstimatedLatency(NATIVE)
    narrow, middle = (prune(graph, Prune(macs=share, importance="l1")) for share in (0.3, 0.6))
    for one in (graph, narrow):
        assert model.settle_ms(one) == pytest.approx(3 * estimate.latency_ms(one))
    assert model.latency_ms(middle) == pytest.approx(3 * estimate.latency_ms(middle))


def test_budgets_count_measured_times(graph: Graph) -> None:
    model = Threefold(NATIVE)
    pruned = prune(graph, Prune(latency=0.6, importance="l1"), latency=model)
    plan = pruned.meta["prune"]
    assert plan.before == pytest.approx(3 * EstimatedLatency(NATIVE).latency_ms(graph))
    assert plan.after == pytest.approx(3 * EstimatedLatency(NATIVE).latency_ms(pruned))
    assert plan.after <= plan.budget
    assert "times are measured on this machine" in plan.notes
