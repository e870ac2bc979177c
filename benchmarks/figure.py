"""The figures of the documentation: accuracy over what stays of a model or over bits of weights, and speed-ups."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@contextmanager
def drawing(path: Path, *, height: float = 3.6) -> Iterator[Axes]:
    """Hand out the axes of a figure `height` inches high, and write it as SVG: equal figures are equal bytes."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "prunus"}):
        picture = Figure(figsize=(6.5, height), layout="constrained")
        axes = picture.subplots()
        yield axes
        picture.savefig(path, metadata={"Date": None})


def label_shares(axes: Axes, *, share_of: str, accuracy_of: str = "") -> None:
    """Label accuracy over the share of something that stays, the whole model on the left."""
    axes.invert_xaxis()
    _label_accuracy(axes, f"share of the {share_of} that stays", accuracy_of)


def draw_bits(curves: Mapping[str, Sequence[float]], bits: Sequence[int], path: Path, *, whole: float) -> None:
    """Draw named accuracies over the bits of weights, and a line at `whole`, that of float32."""
    with drawing(path) as axes:
        for name, accuracies in curves.items():
            axes.plot(bits, accuracies, marker="o", label=name)
        axes.axhline(whole, color="grey", linestyle=":", label="float32")
        axes.invert_xaxis()
        _label_accuracy(axes, "bits of weights")


def draw_speedups(speedups: Mapping[str, float], path: Path, *, title: str) -> None:
    """Draw a bar for each named speed-up, and a line where nothing is gained."""
    with drawing(path, height=0.8 + 0.28 * len(speedups)) as axes:
        bars = axes.barh(list(speedups), list(speedups.values()))
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.axvline(1.0, color="grey", linestyle=":")
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set(xlabel="times as fast as untuned", title=title)


def _label_accuracy(axes: Axes, of: str, accuracy_of: str = "") -> None:
    axes.set(xlabel=of, ylabel=f"accuracy {accuracy_of}".rstrip())
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
