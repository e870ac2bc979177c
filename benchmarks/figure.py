"""The figures of the documentation: accuracy over what stays of a model."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_shares(picture: "Figure", axes: "Axes", path: Path, *, share_of: str, accuracy_of: str = "") -> None:
    """Label the axes of a figure, the whole model on the left, and write it, the same bytes every time."""
    axes.set(xlabel=f"share of the {share_of} that stays", ylabel=f"accuracy {accuracy_of}".rstrip())
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    picture.savefig(path, metadata={"Date": None})
