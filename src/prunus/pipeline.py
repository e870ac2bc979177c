"""One call from a model to a library: import, passes, plan, kernels, link."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunus.artifact import Artifact
from prunus.chain import FineTune, compress
from prunus.compression import LowRank, Prune, Quantize
from prunus.manifest import History, PassSummary
from prunus.targets import Target, load_target
from prunus.tuning import Tune

if TYPE_CHECKING:
    from prunus.passes import PassRecord
    from prunus.passes.evaluation import Evaluate

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is finished, and how much there is."""


def compile(
    model: Any,
    *,
    target: str | Path | Target = "native",
    example_inputs: Sequence[Any] | None = None,
    example_kwargs: Mapping[str, Any] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    constant_inputs: Mapping[str, Any] | None = None,
    name: str | None = None,
    passes: Sequence[Any] = (),
    prune: Prune | None = None,
    low_rank: LowRank | None = None,
    quantize: Quantize | None = None,
    calibration: Sequence[Any] | None = None,
    fine_tune: FineTune = None,
    evaluate: "Evaluate | None" = None,
    max_drop: float = 0.01,
    robustness: bool = False,
    max_robust_drop: float = 0.05,
    seed: int = 0,
    tune: Tune | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Compile a model into one shared library with a plain C interface.

    Args:
        model: `torch.nn.Module`, `torch.export.ExportedProgram`, `torch.fx.GraphModule`, a Keras 3 model, a path of an
            ONNX, .pt2, .keras or HDF5 file, the bytes of an ONNX file, or an `onnx.ModelProto`.
        target: a name from `prunus targets`, a path of a TOML file, or a `Target`.
        example_inputs: tensors or numpy arrays that fix shapes and dtypes; needed for modules.
        example_kwargs: keyword arguments of a module's forward.
        input_shapes: shapes of inputs with symbolic dimensions, by name.
        constant_inputs: inputs of an ONNX model that become constants, by name.
        name: prefix of the library's symbols; by default made from the file's or the class's name.
        passes: further passes, `Graph -> Graph`, run before the default ones.
        prune, low_rank, quantize: make the model smaller first, in this order: `prunus.Prune`, `prunus.LowRank`,
            `prunus.Quantize`.
        calibration: batches of inputs without labels, for all three; those of `quantize` by default.
        fine_tune: trains a module in place after pruning, after factorising and, with `Quantize(training="lsq")`, with
            rounding in place; "distill" lets the original model teach on the calibration inputs.
        evaluate, max_drop: `evaluate(run)` returns an accuracy, where `run` takes and returns tensors of any number of
            samples; no step of compression that loses more than `max_drop` of it is kept. The steps are in
            `artifact.manifest.compression` and in the report.
        robustness, max_robust_drop: also hold accuracy under noise, blur, brightness and FGSM (`prunus.robustness`).
        seed: of distillation.
        tune: search for faster ways of computing each kernel first: `prunus.Tune`. What was found is in
            `artifact.module.meta["tuning"]`, and in a file that later compilations read.
        progress: called as steps go on.

    Returns:
        The library: `artifact(x)` runs it, `artifact.save(folder)` keeps it.

    Raises:
        PrunusError: and its kin, see `prunus.errors`.
    """
    from prunus.backends.codegen.compile import compile_kernels
    from prunus.backends.plan.planner import plan
    from prunus.backends.tune import tuning_records
    from prunus.frontend.importer import example_tensors, import_model
    from prunus.passes import default_passes, run_passes

    machine = load_target(target)
    tell = progress or (lambda step, done, total: None)
    tell("import", 0, 1)
    graph = import_model(
        model, example_inputs=example_inputs, example_kwargs=example_kwargs, input_shapes=input_shapes,
        constant_inputs=constant_inputs,
    )  # fmt: skip
    examples = example_tensors(example_inputs, example_kwargs, graph)
    chain = [*passes, *default_passes()]
    if prune is not None or low_rank is not None or quantize is not None:
        graph = compress(
            run_passes(graph, passes, examples), target=machine, example_inputs=examples, prune=prune,
            low_rank=low_rank, quantize=quantize, calibration=calibration, fine_tune=fine_tune, evaluate=evaluate,
            max_drop=max_drop, robustness=robustness, max_robust_drop=max_robust_drop, seed=seed, progress=tell,
        )  # fmt: skip
        chain = default_passes()
    records: list[PassRecord] = []

    def on_pass(record: "PassRecord") -> None:
        records.append(record)
        tell("passes", len(records), len(chain))

    graph = run_passes(graph, chain, examples, on_pass=on_pass)
    tell("plan", 0, 1)
    known = tuning_records(graph, target=machine, config=tune, progress=tell)
    program = plan(graph, name=name or default_name(model), target=machine, knobs=known)
    kernels = compile_kernels(
        (step.kernel for step in program.steps), machine, on_progress=lambda done, total: tell("kernels", done, total)
    )
    tell("link", 0, 1)
    history = History(
        passes=tuple(_summary(record) for record in records),
        compression=graph.meta.get("compression", ()),
        layers=graph.meta.get("quantization", ()),
    )
    return Artifact.build(program, kernels, history=history, module=graph)


def default_name(model: Any) -> str:
    """Make a C identifier from a file's name, a Keras model's own or a module's class."""
    from prunus.frontend.keras import is_keras_model

    if isinstance(model, str | Path):
        text = Path(model).stem
    else:
        text = model.name if is_keras_model(model) else type(model).__name__
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    text = re.sub(r"[^a-z0-9_]+", "_", text).strip("_")
    return text if text and not text[0].isdigit() else f"model_{text}".rstrip("_")


def _summary(record: "PassRecord") -> PassSummary:
    """Return what the manifest keeps of a pass: nothing that differs from one run to the next."""
    from prunus.passes.run import EXACT

    return PassSummary(
        name=record.name,
        nodes_before=record.nodes_before,
        nodes_after=record.nodes_after,
        bytes_before=record.bytes_before,
        bytes_after=record.bytes_after,
        max_error=0.0 if record.max_error <= EXACT else float(f"{record.max_error:.1e}"),
        reasons=tuple(map(str, record.reasons)),
    )
