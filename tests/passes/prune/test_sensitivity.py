"""Accuracy by group and width."""

import sys
from pathlib import Path

import pytest

from prunus.errors import OutputError
from prunus.frontend import import_model
from prunus.passes.numbers import run
from prunus.passes.prune import Sensitivity, describe, sensitivity
from tests.networks import FAMILIES

TABLE = Sensitivity((0.75, 0.5), 0.9, (("first", (0.89, 0.8)), ("second", (0.9, None))))


def test_sensitivity_has_a_row_for_each_group() -> None:
    module, inputs = FAMILIES["ds-cnn"]()
    graph = import_model(module, example_inputs=inputs)
    expected = run(graph, inputs)[0]

    def agreement(run_graph: object) -> float:
        return -float((run_graph(*inputs)[0] - expected).abs().max())  # type: ignore[operator]

    table = sensitivity(graph, agreement, shares=(1.0, 0.5))
    assert [name for name, _ in table.rows] == [part.group.name for part in describe(graph).parts]
    assert table.accuracy == pytest.approx(0, abs=1e-5)
    for _, (whole, half) in table.rows:
        assert whole == pytest.approx(0, abs=1e-5)
        assert half is not None
        assert half < -1e-3


def test_plot_names_the_groups(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    text = TABLE.plot(tmp_path / "sensitivity.svg").read_text()
    for word in ("first", "second", "accuracy 0.9000", "share of the group that stays"):
        assert word in text
    assert TABLE.plot(tmp_path / "again.svg").read_text() == text
    with pytest.raises(OutputError, match="cannot be written"):
        TABLE.plot(tmp_path / "missing" / "sensitivity.svg")


def test_plot_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OutputError, match="plots need matplotlib"):
        TABLE.plot(tmp_path / "sensitivity.svg")
