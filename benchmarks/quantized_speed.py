"""Time int8 against float32, of Prunus and of ONNX Runtime, on the same networks and inputs, in turns, one thread.

python -m benchmarks.quantized_speed --target x86-64-v3

Prunus computes with the instructions of the target. ONNX Runtime takes the best that it finds in the processor, and has
no way to hold it to fewer; of its forms of int8 (operators or pairs of conversions, signed or unsigned) the fastest
counts.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from onnxruntime.quantization import QuantFormat, QuantType
from rich.console import Console
from rich.table import Table
from torch import Tensor

import prunus
from benchmarks.compare import REST_S
from benchmarks.engines import Engine, OnnxRuntime, Prunus, to_onnx
from benchmarks.machine import caption, processor, versions
from benchmarks.networks import NETWORKS
from benchmarks.onnxruntime_int8 import quantised
from benchmarks.tuning import time_ms
from prunus.targets import load_target

QUANTISED = ("resnet8", "mobilenet-v1-0.25", "ds-cnn", "mobilenet-v2", "resnet18")
SAMPLES = 8
# Random weights round worse than trained ones; this only finds engines that compute something else.
LEAST_SIMILARITY = 0.9


@dataclass(frozen=True)
class Times:
    """One network: medians over the rounds of the median processor time of a run, in ms.

    Attributes:
        onnxruntime_int8_ms: of its fastest form, which `onnxruntime_form` names.
    """

    network: str
    float32_ms: float
    int8_ms: float
    onnxruntime_float32_ms: float
    onnxruntime_int8_ms: float
    onnxruntime_form: str

    @property
    def over_float32(self) -> float:
        """How many times faster int8 is than our own float32."""
        return self.float32_ms / self.int8_ms

    @property
    def over_onnxruntime(self) -> float:
        """How many times faster our int8 is than ONNX Runtime's."""
        return self.onnxruntime_int8_ms / self.int8_ms


def calibration(x: Tensor) -> Tensor:
    """Return random samples for grids, the input that is timed among them."""
    samples = torch.randn((SAMPLES, *x.shape[1:]), generator=torch.Generator().manual_seed(2))
    samples[0] = x[0]
    return samples


def onnxruntime_forms(model: bytes, samples: np.ndarray) -> dict[str, bytes]:
    """Return ONNX Runtime's static int8 in all its forms, weights by channel and with the bits for this machine."""
    fewer_bits = not load_target("native").has("avx512vnni")
    return {
        f"{form}, {activations}": quantised(model, samples, form=form, activations=activations, fewer_bits=fewer_bits)
        for form, activations in product(QuantFormat, (QuantType.QInt8, QuantType.QUInt8))
    }


def check(engine: Engine, expected: np.ndarray) -> None:
    """Refuse to time an engine that computes something else.

    Raises:
        ValueError: the cosine of the angle between its output and `expected` is below 0.9.
    """
    engine.run()
    found, wanted = engine.output.ravel(), expected.ravel()
    similarity = found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted))
    if not similarity >= LEAST_SIMILARITY:
        raise ValueError(f"{engine.title} computes something else: similarity {similarity:.2f}")


def compare(network: str, *, target: str, bits: int, rounds: int, seconds: float) -> Times:
    """Time all engines on `network`: `rounds` rounds, in which each runs for `seconds`; `bits` are of our weights."""
    module, x = NETWORKS[network].make()
    samples = calibration(x)
    with torch.no_grad():
        expected = module(x).numpy()
    whole = prunus.Quantize(calibration=[samples], bits=bits)
    engines: dict[str, Engine] = {
        name: Prunus(
            prunus.compile(module, target=target, example_inputs=(x,), quantize=quantize, name="net"),
            x.numpy(),
            threads=1,
        )
        for name, quantize in (("float32", None), ("int8", whole))
    }
    model = to_onnx(module, x)
    forms = onnxruntime_forms(model, samples.numpy())
    engines["ort float32"] = OnnxRuntime(model, x.numpy(), threads=1)
    engines |= {form: OnnxRuntime(bytes_, x.numpy(), threads=1) for form, bytes_ in forms.items()}
    for engine in engines.values():
        check(engine, expected)
    measured: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            time.sleep(REST_S)
            measured[name].append(time_ms(engine.run, seconds=seconds))
    medians = {name: statistics.median(times) for name, times in measured.items()}
    best = min(forms, key=medians.__getitem__)
    return Times(network, medians["float32"], medians["int8"], medians["ort float32"], medians[best], best)


def table(rows: list[Times], *, foot: str) -> Table:
    """Return `rows` for the terminal, with geometric means of their ratios."""
    result = Table(title="Median processor time of one inference, ms", caption=foot)
    for column in (
        "network", "float32", "int8", "ratio", "ONNX Runtime float32", "ONNX Runtime int8", "ratio to int8", "its form"
    ):  # fmt: skip
        result.add_column(column, justify="left" if column in ("network", "its form") else "right")
    for row in rows:
        result.add_row(
            row.network, f"{row.float32_ms:.3f}", f"{row.int8_ms:.3f}", f"{row.over_float32:.2f}",
            f"{row.onnxruntime_float32_ms:.3f}", f"{row.onnxruntime_int8_ms:.3f}", f"{row.over_onnxruntime:.2f}",
            row.onnxruntime_form,
        )  # fmt: skip
    result.add_section()
    means = [
        statistics.geometric_mean(values)
        for values in ([row.over_float32 for row in rows], [row.over_onnxruntime for row in rows])
    ]
    result.add_row("geometric mean", "", "", f"{means[0]:.2f}", "", "", f"{means[1]:.2f}")
    return result


def main(
    networks: Annotated[list[str] | None, typer.Option(help="Networks to time; all five by default.")] = None,
    target: Annotated[str, typer.Option(help="Instructions that Prunus may use.")] = "native",
    bits: Annotated[int, typer.Option(help="Bits of the weights of Prunus; those of ONNX Runtime have 8.")] = 8,
    rounds: Annotated[int, typer.Option(help="Rounds, in which the engines take turns.")] = 7,
    seconds: Annotated[float, typer.Option(help="Time of each engine in each round.")] = 0.2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
) -> None:
    """Time int8 against float32, of Prunus and of ONNX Runtime, in turns."""
    torch.set_num_threads(1)
    console = Console(width=160)
    rows = []
    for network in networks or QUANTISED:
        with console.status(f"{network} …"):
            rows.append(compare(network, target=target, bits=bits, rounds=rounds, seconds=seconds))
        console.print(f"{network}: {rows[-1].over_float32:.2f}", style="dim")
    ours, native = load_target(target), load_target("native")
    used = {"Prunus": f"with {ours.title}", "ONNX Runtime": f"with {native.title}", "threads": 1, "rounds": rounds}
    used["bits"] = bits
    console.print(table(rows, foot=caption(**used)))
    if json_path:
        figures = {"machine": processor(), "versions": versions(), **used}
        json_path.write_text(json.dumps({**figures, "networks": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
