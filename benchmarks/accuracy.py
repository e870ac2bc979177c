"""Accuracy of trained models in their original runtime and in Prunus, sample by sample.

python -m benchmarks.accuracy --data FOLDER
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.engines import exact_session
from benchmarks.machine import caption
from benchmarks.trained import DATA, Case, Run, cases, tensors
from prunus.frontend.keras.load import keras_module


def original(case: Case) -> Run:
    """Return one inference in PyTorch for a module, in Keras or ONNX Runtime for a file."""
    if isinstance(case.model, torch.nn.Module):
        module = case.model

        def run_module(*inputs: np.ndarray) -> list[np.ndarray]:
            with torch.no_grad():
                result = module(*tensors(inputs))
            return [tensor.numpy() for tensor in (result if isinstance(result, tuple) else (result,))]

        return run_module
    if case.model.suffix == ".keras":
        return of_keras(case.model)
    return of_session(case.model, case.constant_inputs)


def of_keras(path: Path) -> Run:
    """Return one inference of a file in Keras."""
    keras = keras_module()
    model = keras.saving.load_model(path, compile=False)

    def run_model(*inputs: np.ndarray) -> list[np.ndarray]:
        results = keras.tree.flatten(model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
        return [keras.ops.convert_to_numpy(keras.ops.stop_gradient(result)) for result in results]

    return run_model


def of_session(model: Path | bytes, constant_inputs: Mapping[str, Any]) -> Run:
    """Return one inference of an ONNX file in ONNX Runtime."""
    session = exact_session(model)
    constants = {name: np.array(value, np.int64) for name, value in constant_inputs.items()}
    names = [source.name for source in session.get_inputs() if source.name not in constants]

    def run_session(*inputs: np.ndarray) -> list[np.ndarray]:
        results: list[np.ndarray] = session.run(None, {**dict(zip(names, inputs, strict=True)), **constants})
        return results

    return run_session


def compiled(case: Case, target: str) -> Run:
    """Return one inference in Prunus."""
    artifact = prunus.compile(
        case.model,
        target=target,
        example_inputs=tensors(case.example),
        constant_inputs=case.constant_inputs or None,
        name="net",
    )

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        result = artifact(*inputs)
        return result if isinstance(result, tuple) else (result,)

    return run


def main(
    data: Annotated[Path, typer.Option(help="The folder of trained models.")] = DATA,
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    target: Annotated[str, typer.Option(help="What they are compiled for.")] = "native",
) -> None:
    """Print the accuracy of every model in both, and on how many samples they decide differently."""
    found = [case for case in cases(data) if models in case.name]
    if not found:
        raise typer.BadParameter(f"no trained models in {data}")
    torch.set_num_threads(1)
    console = Console()
    table = Table(title="Accuracy, and samples that are decided differently", caption=caption(target=target))
    for column in ("model", "samples", "original runtime", "Prunus", "differing"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in found:
        with console.status(f"{case.name} …"):
            theirs = case.decide(original(case), case.samples)
            ours = case.decide(compiled(case, target), case.samples)
        scores = ["no labels"] * 2
        if case.labels is not None:
            scores = [f"{np.mean(decisions == case.labels):.4f}" for decisions in (theirs, ours)]
        table.add_row(case.name, str(len(ours)), *scores, str(int((ours != theirs).sum())))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
