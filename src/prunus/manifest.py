"""The record beside every library, NAME.json: what it is, what it needs, and the digests of its files."""

import dataclasses
import json
import re
from dataclasses import dataclass, field
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
class CompressionStep:
    """What one step of compression left.

    Attributes:
        name: "original", "prune", "low_rank", "quantize".
        accuracy: what the user's `evaluate` says; None without it.
        weight_bytes: bytes of parameters and buffers.
        estimated_ms: the planner's estimate of a run on one core of the target.
        robustness: accuracy under each perturbation, by name; empty unless it was asked for.
        notes: what was taken back or left alone, and why.
    """

    name: str
    accuracy: float | None
    weight_bytes: int
    estimated_ms: float
    robustness: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerPrecision:
    """How exactly one layer computes.

    Attributes:
        layer: name of its node.
        precision: "int8" or "float32".
        weight_bits: of the weights.
        sqnr_db: signal to quantisation noise of its result, with the noise of all layers before it; None where there
            is no noise, or no signal.
        reason: why it stayed in float32, empty for an int8 layer.
    """

    layer: str
    precision: str
    weight_bits: int
    sqnr_db: float | None
    reason: str = ""

    def __str__(self) -> str:
        noise = "" if self.sqnr_db is None else f"{self.sqnr_db:.1f} dB"
        return f"{self.layer:32} {self.precision:8} {self.weight_bits:2} bits {noise:>9}  {self.reason}".rstrip()


@dataclass(frozen=True)
class History:
    """What has made the graph of a library: passes, steps of compression, the precision of quantised layers."""

    passes: tuple[PassSummary, ...] = ()
    compression: tuple[CompressionStep, ...] = ()
    layers: tuple[LayerPrecision, ...] = ()


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
        compression: the steps of compression ahead of them; empty without.
        layers: the precision of each layer of a quantised model; empty for others.
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
    compression: tuple[CompressionStep, ...]
    layers: tuple[LayerPrecision, ...]
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
            rows = {key: tuple(_record(kind, row) for row in table.pop(key)) for key, kind in _TABLES.items()}
            manifest: Manifest = _record(cls, {**table, **rows})
            _check_names(manifest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"not a manifest of this version of Prunus: {error}",
                do="compile the model again, or use the Prunus that wrote it",
            ) from error
        return manifest


_TABLES = {
    "inputs": TensorRecord,
    "outputs": TensorRecord,
    "passes": PassSummary,
    "compression": CompressionStep,
    "layers": LayerPrecision,
    "steps": StepRecord,
}


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
