"""What Prunus adds to the weights of MobileNetV2 1.0, and the memory that it runs in.

python -m benchmarks.size
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import prunus
from benchmarks.machine import caption
from benchmarks.networks import NETWORKS


def main(
    network: Annotated[str, typer.Option(help="One of the timed networks.")] = "mobilenet-v2",
    targets: Annotated[list[str] | None, typer.Option(help="Targets; native, rpi4 and rpi5 by default.")] = None,
) -> None:
    """Print size of library, weights, code, and working memory beside its lower bound, in bytes."""
    module, x = NETWORKS[network].make()
    parameters_bytes = sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())
    table = Table(title=f"{network}, bytes; {parameters_bytes:,} of parameters", caption=caption())
    for column in ("target", "library", "constants", "code and runtime", "memory", "bound of memory"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for target in targets or ("native", "rpi4", "rpi5"):
        artifact = prunus.compile(module, target=target, example_inputs=(x,), name="net")
        with tempfile.TemporaryDirectory() as folder:
            library_bytes = (artifact.save(Path(folder)) / "libnet.so").stat().st_size
        facts = artifact.manifest
        sizes = (
            library_bytes,
            facts.constants_bytes,
            library_bytes - facts.constants_bytes,
            facts.arena_bytes,
            facts.arena_bound_bytes,
        )
        table.add_row(target, *(f"{size_bytes:,}" for size_bytes in sizes))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
