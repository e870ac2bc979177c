"""Tuning a network: it computes what it did before, is built the same from the same records, and can be stopped."""

import math
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import prunus
from prunus.backends.plan.knobs import first_guess
from prunus.backends.plan.planner import plan
from prunus.backends.tune.meter import Stopwatch
from prunus.backends.tune.record import Source, Verdict
from prunus.backends.tune.records import Records
from prunus.backends.tune.report import TuningReport
from prunus.backends.tune.together import Comparison, compare
from prunus.backends.tune.tuner import tune
from prunus.errors import OutputError, TuneError
from prunus.frontend.importer import import_model
from prunus.passes import default_passes, run_passes
from prunus.passes.graph import Graph

# More than it takes: the search ends when everything is tried.
MINUTES = 5.0


class Network(nn.Module):
    """A layer that Winograd's way is made for, one for matrix products, one element-wise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(16, 16, 3, padding=1)
        self.pointwise = nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(torch.relu(self.convolution(x))).tanh()


X = torch.randn(1, 16, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take estimates for times, so that nothing here depends on the machine."""
    monkeypatch.setattr(Stopwatch, "gain", lambda self, candidate, incumbent: 1.1)
    in_network(monkeypatch, gain=1.1)


def in_network(monkeypatch: pytest.MonkeyPatch, *, gain: float) -> None:
    """Let every kernel gain so much when the whole network runs."""
    comparison = Comparison(gain, defaultdict(lambda: gain))
    monkeypatch.setattr("prunus.backends.tune.tuner.compare", lambda *arguments: comparison)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return run_passes(import_model(Network().eval(), example_inputs=(X,)), default_passes(), [X])


def run(graph: Graph, path: Path, **options: object) -> TuningReport:
    settings = {"target": prunus.load_target("native"), "minutes": MINUTES, "records": Records(path), **options}
    return tune(graph, **settings)  # type: ignore[arg-type]


def compiled(path: Path, **options: object) -> prunus.Artifact:
    return prunus.compile(
        Network().eval(),
        example_inputs=(X,),
        name="net",
        tune=prunus.Tune(records=path, **options),  # type: ignore[arg-type]
    )


def test_a_tuned_network_computes_the_same(tmp_path: Path) -> None:
    artifact = compiled(tmp_path / "records", minutes=MINUTES)
    report = artifact.module.meta["tuning"]
    assert report.verdicts[Verdict.FASTER] > 0
    assert {step.tuned for step in artifact.manifest.steps} >= {"measured"}
    assert "tuning   chose" in str(artifact.report)
    with torch.no_grad():
        torch.testing.assert_close(artifact(X), Network().eval()(X), rtol=1e-4, atol=1e-5)


def test_records_decide_over_every_byte(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "records"
    run(graph, path)
    copied = tmp_path / "copied"
    shutil.copy(path, copied)
    libraries = [compiled(place, minutes=0).manifest.files for place in (path, copied, tmp_path / "none")]
    assert libraries[0] == libraries[1]
    assert libraries[0] != libraries[2]


def test_a_second_run_goes_on_where_the_first_ended(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "records"
    first = run(graph, path)
    assert sum(first.verdicts.values()) == sum(row.tried for row in first.kernels)
    again = run(graph, path)
    assert not again.verdicts
    assert [row.knob for row in again.kernels] == [row.knob for row in first.kernels]
    assert all(row.gain > 1 for row in again.kernels if row.knobs > 1)


def test_what_does_not_gain_in_the_network_is_withdrawn(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_network(monkeypatch, gain=0.99)
    report = run(graph, tmp_path / "records")
    assert report.verdicts[Verdict.WITHDRAWN] == report.verdicts[Verdict.FASTER] > 0
    assert all(row.gain == 1 for row in report.kernels)
    program = plan(graph, name="n", target=prunus.load_target("native"), knobs=Records(tmp_path / "records"))
    assert not any(step.tuned for step in program.steps)


def test_a_network_is_compared_step_by_step(graph: Graph) -> None:
    target = prunus.load_target("native")
    program = plan(graph, name="n", target=target)
    knobs = {(step.kernel.family, step.kernel.problem): step.kernel.knob for step in program.steps}
    comparison = compare(graph, target, knobs, first_guess)
    assert comparison.gains.keys() == knobs.keys()
    assert 0 < comparison.gain < math.inf


def test_ctrl_c_keeps_what_was_found(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "records"

    def stop(step: str, done: int, total: int) -> None:
        if path.exists():
            raise KeyboardInterrupt

    report = run(graph, path, progress=stop)
    assert report.stopped
    assert sum(report.verdicts.values()) == len(path.read_bytes().splitlines()) == 1


def test_a_full_disk_ends_the_search(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "records"
    (tmp_path / "folder").write_text("no folder")
    with pytest.raises(OutputError):
        run(graph, path)


def test_no_time_means_no_trials(graph: Graph, tmp_path: Path) -> None:
    assert not run(graph, tmp_path / "records", minutes=1e-9).verdicts


def test_processors_without_a_model_are_refused(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="cannot be estimated"):
        run(graph, tmp_path / "records", target=prunus.load_target("rpi3-armhf"))


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-aarch64 is not installed")
def test_a_foreign_processor_is_tuned_by_estimates(graph: Graph, tmp_path: Path) -> None:
    report = run(graph, tmp_path / "records", target=prunus.load_target("rpi4"))
    assert report.source == Source.ESTIMATED
    cost = {row.layer: row.cost for row in report.kernels}
    # 12 * 12 * 16 * 16 * 9 multiplications less those with padding, four a cycle.
    assert 0.8 * 82944 < cost["conv2d + relu"] < 1.3 * 82944
    assert b'"source":"estimated"' in (tmp_path / "records").read_bytes()
    artifact = prunus.compile(
        Network().eval(), example_inputs=(X,), name="net", target="rpi4",
        tune=prunus.Tune(minutes=0, records=tmp_path / "records"),
    )  # fmt: skip
    assert "estimated cycles" in str(artifact.report)
    with torch.no_grad():
        torch.testing.assert_close(artifact(X), Network().eval()(X), rtol=1e-4, atol=1e-5)
