"""The record beside every library, NAME.json: what it is, what it needs, and the digests of its files."""

import dataclasses
import json
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from prunus.errors import ArtifactError

_FORMAT = 1


@dataclass(frozen=True)
class TensorRecord:
    """An input or output: dense, row-major; `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StepRecord:
    """One call of a kernel.

    Attributes:
        kernel: its symbol.
        family: what made it.
        nodes: names of the graph nodes that it computes.
        operators: what those nodes call; empty for a copy that only changes the layout.
        after: places in `Manifest.steps` of the steps whose results it reads.
        reads: names of the model's inputs that it reads.
        writes: names of the model's outputs that it writes.
        units: pieces that threads can share.
        macs: multiply-accumulates.
        code_bytes: the kernel's code; equal kernels of several steps are in the library once.
        constants_bytes: weights that it reads.
        moved_bytes: all other bytes that it reads and writes.
        cost_cycles: static estimate for one core.
        tuned: "measured" or "estimated" where tuning chose the kernel's knob, else empty.
    """

    kernel: str
    family: str
    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    after: tuple[int, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    units: int
    macs: int
    code_bytes: int
    constants_bytes: int
    moved_bytes: int
    cost_cycles: float
    tuned: str = ""


@dataclass(frozen=True)
class PassSummary:
    """What one pass did to the graph.

    Attributes:
        nodes_before: calls in the graph before it, `nodes_after` behind it.
        bytes_before: bytes of weights before it, `bytes_after` behind it.
        max_error: change of the outputs as a share of the largest; 0 where it is rounding.
        reasons: why its rules left nodes alone.
    """

    name: str
    nodes_before: int
    nodes_after: int
    bytes_before: int
    bytes_after: int
    max_error: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that can be said of a library without running it.

    Attributes:
        system: linker's name of the system: triple and lowest glibc, "aarch64-linux-gnu.2.28".
        features: processor features that the library checks before it runs.
        runner: command in front of programs of its target, empty where they run natively.
        max_threads: the most that an instance may have.
        arena_bytes: working memory of an instance; no plan can take less than `arena_bound_bytes`.
        code_bytes: the library without its constants.
        passes: what made the graph, in order.
        files: SHA-256 of each file, by name.
    """

    prunus_version: str
    name: str
    target: str
    title: str
    triple: str
    system: str
    features: tuple[str, ...]
    runner: tuple[str, ...]
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    max_threads: int
    arena_bytes: int
    arena_bound_bytes: int
    constants_bytes: int
    code_bytes: int
    passes: tuple[PassSummary, ...]
    steps: tuple[StepRecord, ...]
    files: dict[str, str]

    @property
    def architecture(self) -> str:
        """ "x86_64", "aarch64" or "arm"."""
        return self.system.split("-")[0]

    def to_json(self) -> str:
        """Return the text of NAME.json."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read the text of NAME.json.

        Raises:
            ArtifactError: it is no manifest, or one of another version.
        """
        try:
            table: dict[str, Any] = json.loads(text)
            if table.pop("format") != _FORMAT:
                raise ValueError("the format is another one")
            tensors = {
                key: tuple(_record(TensorRecord, row) for row in table.pop(key)) for key in ("inputs", "outputs")
            }
            steps = tuple(_record(StepRecord, row) for row in table.pop("steps"))
            passes = tuple(_record(PassSummary, row) for row in table.pop("passes"))
            manifest: Manifest = _record(cls, {**table, **tensors, "steps": steps, "passes": passes})
            _check_names(manifest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"not a manifest of this version of Prunus: {error}",
                do="compile the model again, or use the Prunus that wrote it",
            ) from error
        return manifest


def library_name(name: str) -> str:
    """Return the file name of the library."""
    return f"lib{name}.so"


def manifest_name(name: str) -> str:
    """Return the file name of the manifest."""
    return f"{name}.json"


def find_manifest(place: Path) -> Path:
    """Return the manifest at `place`: the file itself, or the only one of a folder.

    Raises:
        ArtifactError: there is none, or there are several.
    """
    if place.is_file():
        return place
    found = sorted(path for path in place.glob("*.json") if (place / library_name(path.stem)).exists())
    if len(found) == 1:
        return found[0]
    raise ArtifactError(
        f"{place} holds {len(found)} manifests" if place.is_dir() else f"{place} does not exist",
        expected="a folder with one library and its manifest, or the path of the manifest",
        do=f"name one of {', '.join(map(str, found))}" if found else "name the folder that `save` wrote",
    )


def prunus_version() -> str:
    """Return the version of the installed Prunus."""
    return metadata.version("prunus")


def _record(kind: Any, row: dict[str, Any]) -> Any:
    """Build a record from JSON's lists and tables."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})


def _check_names(manifest: Manifest) -> None:
    """Refuse names that would lead outside the manifest's folder."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", manifest.name):
        raise ValueError(f"the name is {manifest.name!r}")
    for name in manifest.files:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise ValueError(f"a file has the name {name!r}")
    if library_name(manifest.name) not in manifest.files:
        raise ValueError("the library is not listed")
