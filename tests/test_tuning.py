"""What users ask of tuning, in Python and on the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import prunus
from prunus.cli import app
from prunus.errors import TuneError

NETWORK = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh()).eval(), (torch.zeros(3, 8),)
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "network_to_tune.py"
    path.write_text(NETWORK)
    return f"{path}:make"


@pytest.mark.parametrize("minutes", [-1.0, float("nan"), float("inf")])
def test_impossible_times(minutes: float) -> None:
    with pytest.raises(TuneError, match="minutes"):
        prunus.Tune(minutes=minutes)


def test_the_command_prints_kernels_and_keeps_records(model: str, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    command = ["tune", model, "--minutes", "5", "--records", str(records)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "linear + tanh" in result.output
    assert f"{len(records.read_text().splitlines())} trials" in result.output
    again = CliRunner().invoke(app, [*command, "--json"])
    report = json.loads(again.stdout)
    assert report["source"] == "measured"
    assert sum(report["verdicts"].values()) == 0


def test_no_time_is_wrong_usage(model: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tune", model, "--minutes", "0", "--records", str(tmp_path / "r")])
    assert result.exit_code == 2
    assert "0 minutes" in result.output
