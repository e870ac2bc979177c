"""What all commands print with: tables on the standard output, progress and errors on the standard error."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_WIDTH = 120


def console() -> Console:
    """Return the console of results; lines do not depend on a terminal where there is none."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_WIDTH, soft_wrap=True)


def error_console() -> Console:
    """Return the console of errors."""
    return Console(stderr=True, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1))


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows steps as they go on: bars in a terminal, else a line when a step begins."""
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield _line_once()
        return
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            for name, task in tasks.items():
                if name != step:
                    bars.update(task, completed=bars.tasks[task].total)
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield show


def _line_once() -> Callable[[str, int, int], None]:
    @lru_cache
    def announce(step: str) -> None:
        typer.echo(f"prunus: {step}", err=True)

    return lambda step, done, total: announce(step)
