"""How long `import prunus` takes, and compiling MobileNetV2 1.0 with an empty and a filled cache.

python -m benchmarks.compile_time
"""

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import caption
from benchmarks.networks import NETWORKS

# Each runs in a fresh process and prints seconds.
IMPORT = """
import time
start = time.perf_counter()
import prunus
print(time.perf_counter() - start)
"""
COMPILE = """
import time
from benchmarks.networks import NETWORKS
module, x = NETWORKS[{network!r}].make()
start = time.perf_counter()
import prunus
prunus.compile(module, target={target!r}, example_inputs=(x,), name="net")
print(time.perf_counter() - start)
"""
IMPORTS = 10


def seconds(source: str, *, cache: str) -> float:
    """Return what `source` prints when a fresh interpreter runs it with the kernel cache in the folder `cache`."""
    environment = {**os.environ, "PRUNUS_CACHE": cache}
    command = [sys.executable, "-W", "ignore", "-c", source]
    result = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(result.stdout.split()[-1])


def main(
    networks: Annotated[list[str] | None, typer.Option(help="Networks to compile.")] = None,
    target: Annotated[str, typer.Option(help="What they are compiled for.")] = "native",
) -> None:
    """Print seconds of the import, and of compiling in fresh processes: cold, then warm."""
    table = Table(title="Seconds in a fresh process", caption=caption(target=target))
    for column in ("what", "empty cache", "filled cache"):
        table.add_column(column, justify="left" if column == "what" else "right")
    with tempfile.TemporaryDirectory() as cache:
        imports = [seconds(IMPORT, cache=cache) for _ in range(IMPORTS)]
    table.add_row(f"import prunus, median of {IMPORTS}", "", f"{statistics.median(imports):.3f}")
    for network in networks or ["mobilenet-v2"]:
        if network not in NETWORKS:
            raise typer.BadParameter(f"{network}; there are {', '.join(NETWORKS)}")
        source = COMPILE.format(network=network, target=target)
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (seconds(source, cache=cache) for _ in range(2))
        table.add_row(f"compile {network}", f"{cold:.1f}", f"{warm:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
