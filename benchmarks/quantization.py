"""Accuracy of static int8 in Prunus and in ONNX Runtime on the same calibration samples, and of quantised files.

python -m benchmarks.quantization --data FOLDER
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.accuracy import of_session, original
from benchmarks.machine import caption
from benchmarks.onnxruntime_int8 import quantised
from benchmarks.trained import DATA, Case, Run, cases, channels_last, enlarged, log_mel, tensors
from prunus.compression import Quantize
from prunus.passes import DEFAULT, Graph, run_passes
from prunus.passes.export_onnx import export_onnx
from prunus.passes.quantize import quantize
from prunus.passes.trainable import TrainableGraph

PORTION = 200
QUANTISED = {
    "fashion-resnet/model_qdq.onnx": "fashion-resnet, ONNX",
    "fashion-resnet/model_qoperator.onnx": "fashion-resnet, ONNX",
    "vad/pulsevad_2.1k_int8.onnx": "pulsevad, ONNX",
}
Score = Callable[[np.ndarray, np.ndarray], float]


def calibration_samples(case: Case, data: Path, count: int) -> np.ndarray:
    """Return the first training samples in the form of the case's own, or unlabelled ones where there are none.

    Voice windows start half a window later than those of the test; of text-magika's files every eighth is taken.
    """
    if case.name.startswith("fashion-resnet"):
        pixels = np.load(data / "fashion-resnet/data.npz")["x_train"][:, None]
        samples = ((pixels / np.float32(255) - np.float32(0.2860)) / np.float32(0.3530)).astype(np.float32)
    elif case.name.startswith("kws"):
        part = np.load(data / f"kws/{case.name.split()[1].rstrip(',')}.npz")
        samples = part["x_train"][:, None].astype(np.float32) * np.float32(part["scale"])
    elif case.name.startswith("pulsevad"):
        audio = np.load(data / "vad/clips.npz")["audio"].astype(np.float32) / 32768
        samples = log_mel(audio[:, 1600:-1600].reshape(-1, 3200), np.load(data / "vad/mel_filterbank.npy"))
    elif case.name.startswith("keras-fashion"):
        samples = channels_last(np.load(data / "fashion-resnet/data.npz")["x_train"])
    elif case.name.startswith("keras-smartlock"):
        part = np.load(data / "keras-smartlock/data.npz")
        samples = enlarged(np.concatenate([part["x_train"], part["night_train"]]))
    elif case.name.startswith("text-sentiment"):
        samples = np.load(data / "text-sentiment/data.npz")["x_train"].astype(np.int64)
    else:
        samples = case.samples[:: max(1, min(8, len(case.samples) // 20))]
    return samples[:count]


def answers(graph: Graph, samples: np.ndarray) -> Run:
    """Compute all samples at once, and return a run that hands out the results one after the other."""
    module = TrainableGraph(graph)
    results: list[tuple[np.ndarray, ...]] = []
    with torch.no_grad():
        for portion in torch.from_numpy(samples).split(PORTION):
            found = module(portion)
            outputs = found if isinstance(found, tuple) else (found,)
            results += zip(*(tensor.numpy()[:, None] for tensor in outputs), strict=True)
    ready: Iterator[tuple[np.ndarray, ...]] = iter(results)
    return lambda *inputs: next(ready)


def of_onnxruntime(case: Case, samples: np.ndarray) -> Run | None:
    """Return one inference of ONNX Runtime's own static int8 (QDQ, int8, weights by channel); None for a module."""
    if isinstance(case.model, torch.nn.Module):
        return None
    file = folded(case) if case.model.suffix == ".keras" else case.model.read_bytes()
    # By channel it fails on text-magika: a bias of all zeros has one scale there, not one for each channel.
    whole = quantised(file, samples, per_channel="magika" not in case.name)
    return of_session(whole, case.constant_inputs)


def folded(case: Case) -> bytes:
    """Return an ONNX file of a Keras model with batch norms folded, which Keras' own export leaves as arithmetic."""
    graph = run_passes(prunus.import_model(case.model), DEFAULT, tensors(case.example))
    with TemporaryDirectory() as folder:
        return export_onnx(graph, Path(folder, "model.onnx")).read_bytes()


def accuracy(decisions: np.ndarray, labels: np.ndarray) -> float:
    """Share of right decisions."""
    return float(np.mean(decisions == labels))


def f1(decisions: np.ndarray, labels: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN)."""
    hits = np.sum(decisions.astype(bool) & labels.astype(bool))
    return float(2 * hits / (np.sum(decisions.astype(bool)) + np.sum(labels.astype(bool))))


def main(
    data: Annotated[Path, typer.Option(help="The folder of trained models.")] = DATA,
    models: Annotated[str, typer.Option(help="Only models with this in their name.")] = "",
    observer: Annotated[str, typer.Option(help="How ranges follow from the samples.")] = "lp",
    target: Annotated[str, typer.Option(help="Decides over the bits of weights.")] = "native",
    samples: Annotated[int, typer.Option(help="Calibration samples.")] = 500,
) -> None:
    """Print accuracy in float32, in ONNX Runtime's int8 and in Prunus' int8, over whole test sets.

    In brackets: how many samples are decided differently from float32, which chance sways less than the accuracy.
    """
    torch.set_num_threads(1)
    console = Console()
    table = Table(title="Accuracy of static int8", caption=caption(target=target, observer=observer))
    for column in ("model", "samples", "score", "float32", "ONNX Runtime int8", "Prunus int8", "lost points"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in cases(data):
        if models not in case.name or "silero" in case.name:  # recurrent layers stay in float32
            continue
        with console.status(f"{case.name} …"):
            row = compare(case, calibration_samples(case, data, samples), observer, target)
        table.add_row(case.name, str(len(case.samples)), *row)
    console.print(table)
    console.print(come_quantised(data, models))


def come_quantised(data: Path, models: str) -> Table:
    """Compare the files that come quantised with ONNX Runtime, sample by sample."""
    table = Table(title="Models that come quantised", caption=caption())
    for column in ("file", "samples", "ONNX Runtime", "Prunus", "differing"):
        table.add_column(column, justify="left" if column == "file" else "right")
    known = {case.name: case for case in cases(data)}
    for file, name in QUANTISED.items():
        case = known.get(name)
        if case is None or case.labels is None or models not in name:
            continue
        graph = prunus.import_model(data / file, example_inputs=tensors(case.example))
        graph = run_passes(graph, DEFAULT, tensors(case.example))
        theirs = case.decide(original(replace(case, model=data / file)), case.samples)
        ours = case.decide(answers(graph, case.samples), case.samples)
        scores = [f"{accuracy(decisions, case.labels):.4f}" for decisions in (theirs, ours)]
        table.add_row(file, str(len(ours)), *scores, str(int((ours != theirs).sum())))
    return table


def compare(case: Case, calibration: np.ndarray, observer: str, target: str) -> list[str]:
    """Return the cells of one row."""
    graph = prunus.import_model(
        case.model, example_inputs=tensors(case.example), constant_inputs=case.constant_inputs or None
    )
    graph = run_passes(graph, DEFAULT, tensors(case.example))
    whole = quantize(graph, Quantize(calibration=[calibration], observer=observer, where="everywhere"), target=target)
    theirs = of_onnxruntime(case, calibration)
    floats = case.decide(answers(graph, case.samples), case.samples)
    labels = floats if case.labels is None else case.labels
    score = f1 if case.name.startswith("pulsevad") else accuracy

    def cell(decisions: np.ndarray) -> str:
        return f"{score(decisions, labels):.4f} ({int((decisions != floats).sum())})"

    ours = case.decide(answers(whole, case.samples), case.samples)
    other = "" if theirs is None else cell(case.decide(theirs, case.samples))
    best = score(floats, labels)
    name = "agreement" if case.labels is None else "F1" if score is f1 else "accuracy"
    return [name, f"{best:.4f}", other, cell(ours), f"{100 * (best - score(ours, labels)):.2f}"]


if __name__ == "__main__":
    typer.run(main)
