"""One line of the report for each step of a library."""

from collections.abc import Sequence
from dataclasses import dataclass

from prunus.manifest import LayerPrecision, Manifest, StepRecord

# Families that compute operators by TVM's own lowering, without a template of ours.
GENERAL_FAMILIES = frozenset({"relax"})


@dataclass(frozen=True)
class Row:
    """One step.

    Attributes:
        number: place in the library, from 1.
        kernel: its symbol; steps with the same one share its code.
        family: what made the kernel.
        operators: what it computes, "conv2d"; empty for a copy.
        nodes: names of the graph nodes that it computes.
        mark: "copy" for a change of layout only, "general" for an operator without a family of its own, else empty.
        code_bytes: code of the kernel, 0 where an earlier step has brought it.
        constants_bytes: weights that it reads.
        macs: multiply-accumulates.
        estimated_share: estimated part of the time of a run, 0 to 1.
        measured_ms: time measured, None without a measurement.
        precision: of the layer that it computes, "int8 41.5 dB"; empty where the model is not quantised or it has none.
    """

    number: int
    kernel: str
    family: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    mark: str
    code_bytes: int
    constants_bytes: int
    macs: int
    estimated_share: float
    measured_ms: float | None
    precision: str = ""

    @property
    def title(self) -> str:
        """The operators in one line, or what is copied."""
        return " + ".join(self.operators) or ", ".join(self.nodes)


def rows_of(manifest: Manifest, step_ms: Sequence[float]) -> tuple[Row, ...]:
    """Return the rows of a library; `step_ms` holds a time for each step, or is empty."""
    cycles = sum(step.cost_cycles for step in manifest.steps) or 1.0
    rows: list[Row] = []
    seen: set[str] = set()
    layers = {layer.layer: layer for layer in manifest.layers}
    for index, step in enumerate(manifest.steps):
        rows.append(
            Row(
                number=index + 1,
                kernel=step.kernel,
                family=step.family,
                operators=step.operators,
                nodes=step.nodes,
                mark=_mark(step),
                code_bytes=0 if step.kernel in seen else step.code_bytes,
                constants_bytes=step.constants_bytes,
                macs=step.macs,
                estimated_share=step.cost_cycles / cycles,
                measured_ms=step_ms[index] if step_ms else None,
                precision=", ".join(_precision(layers[name]) for name in step.nodes if name in layers),
            )
        )
        seen.add(step.kernel)
    return tuple(rows)


def _precision(layer: LayerPrecision) -> str:
    return layer.precision if layer.sqnr_db is None else f"{layer.precision} {layer.sqnr_db:.1f} dB"


def _mark(step: StepRecord) -> str:
    if not step.operators:
        return "copy"
    return "general" if step.family in GENERAL_FAMILIES else ""
