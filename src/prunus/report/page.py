"""The report as one HTML page: pictures inline, nothing loaded from elsewhere."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import networkx

from prunus.manifest import Manifest
from prunus.report.layers import draw
from prunus.report.rows import Row
from prunus.report.text import summary
from prunus.report.units import kilobytes, tensor

if TYPE_CHECKING:
    from prunus.report.report import Report

_LAYER_HEIGHT, _BOX_HEIGHT, _MARGIN, _GAP = 58, 30, 12, 14
_LETTER_WIDTH, _LONGEST_LABEL = 6.6, 44


@dataclass(frozen=True)
class Box:
    """A node of the picture: middle, width, text, and what hovering shows; `kind` is "tensor" or a row's mark."""

    x: float
    y: float
    width: float
    label: str
    detail: str
    kind: str


@dataclass(frozen=True)
class Picture:
    """The graph of steps, in pixels; `lines` are paths of SVG."""

    width: float
    height: float
    box_height: int
    boxes: list[Box]
    lines: list[str]


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: `share` of the longest, and what stands beside it."""

    label: str
    share: float
    text: str


def page(report: "Report") -> str:
    """Return the page of a report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    rows = report.rows
    charts = {
        "Estimated time by step": _bars(rows, [row.estimated_share for row in rows], "{:.1%}"),
        "Weights and code by step, kB": _bars(
            rows, [(row.constants_bytes + row.code_bytes) / 1000 for row in rows], "{:,.1f}"
        ),
    }
    if report.step_ms:
        charts = {"Measured time by step, ms": _bars(rows, list(report.step_ms), "{:.4f}"), **charts}
    return environment.get_template("report.html.j2").render(
        facts=report.manifest, lines=summary(report), rows=rows, charts=charts, picture=_picture(report.manifest, rows)
    )


def _bars(rows: tuple[Row, ...], numbers: list[float], form: str) -> list[Bar]:
    longest = max(numbers, default=0.0) or 1.0
    return [
        Bar(f"{row.number} {_short(row.title)}", number / longest, form.format(number))
        for row, number in zip(rows, numbers, strict=True)
    ]


def _picture(manifest: Manifest, rows: tuple[Row, ...]) -> Picture:
    labels: dict[object, tuple[str, str, str]] = {}
    graph: networkx.DiGraph[object] = networkx.DiGraph()
    for record in manifest.inputs:
        labels["input", record.name] = (record.name, tensor(record), "tensor")
    for row in rows:
        detail = f"{row.number}: {', '.join(row.nodes)} ({row.family}, {kilobytes(row.constants_bytes)})"
        labels["step", row.number - 1] = (_short(f"{row.number} {row.title}"), detail, row.mark)
    for record in manifest.outputs:
        labels["output", record.name] = (record.name, tensor(record), "tensor")
    graph.add_nodes_from(labels)
    for index, step in enumerate(manifest.steps):
        graph.add_edges_from((("input", name), ("step", index)) for name in step.reads)
        graph.add_edges_from((("step", other), ("step", index)) for other in step.after)
        graph.add_edges_from((("step", index), ("output", name)) for name in step.writes)
    drawing = draw(graph, lambda node: len(labels[node][0]) * _LETTER_WIDTH + 16, _GAP)

    def pixel(place: tuple[float, int]) -> tuple[float, float]:
        return place[0] + _MARGIN, place[1] * _LAYER_HEIGHT + _MARGIN + _BOX_HEIGHT / 2

    boxes = []
    for node, (label, detail, kind) in labels.items():
        x, y = pixel(drawing.places[node])
        boxes.append(Box(round(x, 1), round(y, 1), round(len(label) * _LETTER_WIDTH + 16, 1), label, detail, kind))
    return Picture(
        width=round(drawing.width + 2 * _MARGIN),
        height=max(drawing.layers - 1, 0) * _LAYER_HEIGHT + _BOX_HEIGHT + 2 * _MARGIN,
        box_height=_BOX_HEIGHT,
        boxes=boxes,
        lines=[_curve([pixel(place) for place in path]) for path in drawing.paths.values()],
    )


def _curve(points: list[tuple[float, float]]) -> str:
    """Return a path that leaves and reaches each point downwards."""
    text = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        text += f" C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
    return text


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
