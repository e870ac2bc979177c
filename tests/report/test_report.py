"""The report of a real library: its rows, its totals, its text and its page."""

import dataclasses
import html.parser
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import prunus
from prunus.errors import InputError
from prunus.report import Report


class Network(nn.Module):
    """Two convolutions with a residual sum, and layouts that need a copy in front of the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 35, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(image)))
        x = torch.relu(self.second(x) + x)
        return self.head(x.flatten(1))


@pytest.fixture(scope="module")
def artifact() -> prunus.Artifact:
    torch.manual_seed(0)
    return prunus.compile(Network().eval(), example_inputs=(torch.randn(1, 3, 5, 7),), name="net")


@pytest.fixture(scope="module")
def report(artifact: prunus.Artifact) -> Report:
    return artifact.report


def test_rows(report: Report) -> None:
    assert [row.operators for row in report.rows] == [
        ("conv2d", "relu"),
        ("conv2d", "add", "relu"),
        (),
        ("linear",),
    ]
    assert [row.mark for row in report.rows] == ["", "", "copy", ""]
    assert [row.number for row in report.rows] == [1, 2, 3, 4]
    assert sum(row.estimated_share for row in report.rows) == pytest.approx(1)
    assert report.rows[3].macs == 8 * 35 * 3
    assert report.rows[3].constants_bytes >= 4 * (8 * 35 * 3 + 3)


def test_totals(report: Report, artifact: prunus.Artifact, tmp_path: Path) -> None:
    artifact.save(tmp_path)
    assert report.library_bytes == (tmp_path / "libnet.so").stat().st_size
    assert sum(row.code_bytes for row in report.rows) < report.manifest.code_bytes
    assert report.manifest.arena_bound_bytes <= report.manifest.arena_bytes
    assert len(report.marked("copy")) == 1


def test_neighbours(report: Report) -> None:
    first, second, copy, head = report.manifest.steps
    assert (first.reads, first.after, first.writes) == (("image",), (), ())
    assert second.after == (0,)
    assert copy.after == (1,)
    assert (head.after, head.writes) == ((2,), ("output",))


def test_passes(report: Report) -> None:
    folded = next(item for item in report.manifest.passes if item.name == "fold_batchnorm")
    assert folded.nodes_after == folded.nodes_before - 1
    assert folded.max_error == 0
    assert folded.bytes_after < folded.bytes_before


def test_text(report: Report) -> None:
    text = str(report)
    assert "image float32[1, 3, 5, 7]" in text
    assert "conv2d + add + relu" in text
    assert "1 copy among them" in text
    assert "fold_batchnorm: " in text
    assert max(map(len, text.splitlines())) <= 120
    assert " ms" not in text


def test_measured_times(report: Report) -> None:
    measured = report.with_times([0.5, 1.25, 0.0625, 2])
    assert [row.measured_ms for row in measured.rows] == [0.5, 1.25, 0.0625, 2]
    assert "0.0625" in str(measured)
    assert "0.0625" in measured.html
    with pytest.raises(InputError, match="3 times"):
        report.with_times([1, 2, 3])


class Balance(html.parser.HTMLParser):
    """Checks that every tag is closed, and collects the text."""

    VOID = ("meta", "path", "rect", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses.extend(value or "" for key, value in attrs if key in ("src", "href"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page(report: Report) -> None:
    page = Balance()
    page.feed(report.html)
    page.close()
    assert page.open == []
    assert page.addresses == []
    assert "http" not in report.html
    for words in ("conv2d + add + relu", "Estimated time by step", "Weights and code by step", "fold_batchnorm"):
        assert words in page.text
    # Six boxes: input, four steps, output; five lines between them and one past the second convolution's operand.
    assert report.html.count('<rect class="box') == 6
    assert report.html.count('<path class="line"') == 5


def test_names_are_escaped(report: Report) -> None:
    manifest = dataclasses.replace(report.manifest, title="<script>alert(1)</script>")
    assert "<script>" not in Report(manifest).html


def test_a_loaded_library_has_the_same_report(artifact: prunus.Artifact, tmp_path: Path) -> None:
    artifact.save(tmp_path)
    loaded = prunus.load(tmp_path).report
    assert str(loaded) == str(artifact.report)
    assert (tmp_path / "report.html").read_text() == loaded.html == artifact.report.html


def test_same_model_same_report(artifact: prunus.Artifact) -> None:
    torch.manual_seed(0)
    again = prunus.compile(Network().eval(), example_inputs=(torch.randn(1, 3, 5, 7),), name="net")
    assert again.report.html == artifact.report.html
    assert again.manifest == artifact.manifest
    assert not re.search(r"\b20\d\d-\d\d", artifact.report.html)


def test_as_dict(report: Report) -> None:
    table = json.loads(json.dumps(report.as_dict()))
    assert table["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 5, 7]}]
    assert [row["operators"] for row in table["steps"]][3] == ["linear"]
    assert table["library_bytes"] == table["code_bytes"] + table["constants_bytes"]


def test_general_lowering_is_marked() -> None:
    module = nn.Conv3d(2, 3, 3)
    report = prunus.compile(module, example_inputs=(torch.zeros(1, 2, 4, 5, 6),), name="volume").report
    assert "general" in [row.mark for row in report.rows]
    assert "general lowering" in str(report)
