"""Compile a trained classifier for this machine and for a Raspberry Pi 4, measure it, call it from C, and compress it.

make demo
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from examples import door_lock
from examples.trained import FASHION, Samples, pytorch_scores
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.compare import time_ms
from benchmarks.engines import OnnxRuntime, Prunus
from benchmarks.machine import caption
from prunus.errors import TargetError

BUILD = Path("build/demo")
PICTURES = 6


def main() -> None:
    """Print a table of both libraries beside ONNX Runtime, what the C program says of some pictures, and the chain."""
    console = Console()
    samples = FASHION.samples()
    table = Table(title=f"{FASHION.task}: ResNet-8, batch 1, one thread", caption=caption())
    for column in ("runs on", "library", "weights", "memory", "latency", f"accuracy of {len(samples.labels)}"):
        table.add_column(column, justify="left" if column == "runs on" else "right")
    for target in ("native", "rpi4"):
        with console.status(f"compiling {FASHION.path.name} for {target} …"):
            artifact = prunus.compile(FASHION.path, target=target, name="fashion")
            folder = artifact.save(BUILD / target)
        latency = "measure on the board"
        if target == "native":
            latency = milliseconds(Prunus(artifact, samples.inputs[0], threads=1))
        with console.status(f"classifying {len(samples.labels)} pictures with {folder}/libfashion.so …"):
            accuracy = measured_accuracy(artifact, samples)
        facts = artifact.manifest
        size_bytes = (folder / "libfashion.so").stat().st_size
        table.add_row(
            facts.title,
            kilobytes(size_bytes),
            kilobytes(facts.constants_bytes),
            kilobytes(facts.arena_bytes),
            latency,
            accuracy,
        )
    table.add_section()
    latency = milliseconds(OnnxRuntime(FASHION.path, samples.inputs[0], threads=1))
    table.add_row("ONNX Runtime, this machine", "", "", "", latency, "")
    table.add_row("PyTorch, this machine", "", "", "", "", f"{samples.accuracy(pytorch_scores(samples)):.4f}")
    console.print(table)
    run_c_program(console)
    door_lock.main(console)


def measured_accuracy(artifact: prunus.Artifact, samples: Samples) -> str:
    """Return the accuracy for a table cell, under the emulator where the library is for another processor."""
    try:
        return f"{samples.accuracy(artifact.run_many([(x,) for x in samples.inputs])):.4f}"
    except TargetError as error:
        return str(error)


def run_c_program(console: Console) -> None:
    """Build `examples/classify.c` against the library for this machine and show it some pictures."""
    if shutil.which("cc") is None:
        console.print("cc is not installed: examples/classify.c is not built")
        return
    pictures = write_pictures(BUILD / "pictures")
    folder = BUILD / "native"
    program = BUILD / "classify"
    command = ["cc", "-O2", f"-I{folder}", "examples/classify.c", "-o", str(program)]
    command += [f"-L{folder}", "-lfashion", f"-Wl,-rpath,{folder.resolve()}", "-lm"]
    console.print(f"[bold]$ {' '.join(command)}", highlight=False, soft_wrap=True)
    subprocess.run(command, check=True)
    command = [str(program), *map(str, pictures)]
    console.print(f"[bold]$ {' '.join(command)}", highlight=False, soft_wrap=True)
    console.file.flush()
    subprocess.run(command, check=True, stdout=sys.stdout)


def write_pictures(folder: Path) -> list[Path]:
    """Write the first samples as PGM files, named by their labels, and return their paths."""
    from examples.data.fashion.model import LABELS

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with np.load(FASHION.path.with_name("samples.npz")) as file:
        for index, (picture, label) in enumerate(zip(file["pictures"][:PICTURES], file["labels"], strict=False)):
            paths.append(folder / f"{index}-{LABELS[label].replace(' ', '-')}.pgm")
            paths[-1].write_bytes(b"P5 28 28 255\n" + picture.tobytes())
    return paths


def milliseconds(engine: Prunus | OnnxRuntime) -> str:
    """Return the median time of a run for a table cell."""
    return f"{time_ms(engine.run, seconds=1):.3f} ms"


def kilobytes(size_bytes: int) -> str:
    """Return a size for a table cell."""
    return f"{size_bytes / 1024:.0f} kB"


if __name__ == "__main__":
    main()
