"""The application: its commands, and what becomes of errors.

The modules of the commands import PyTorch and TVM inside their functions only, so that `prunus --help` is quick.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from prunus.cli import bench, catalogue, compile, doctor, inspect, run, tune
from prunus.cli.console import error_console
from prunus.errors import PrunusError


class _Commands(TyperGroup):
    """Commands whose errors for users are messages, not tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PrunusError as error:
            if ctx.params.get("debug"):
                raise
            error_console().print(f"[bold red]{type(error).__name__}[/]: ", end="")
            error_console().print(str(error), markup=False, highlight=False)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("compile")(compile.compile_model)
app.command()(run.run)
app.command()(tune.tune)
app.command()(bench.bench)
app.command()(inspect.inspect)
app.command()(catalogue.targets)
app.command()(catalogue.passes)
app.command()(doctor.doctor)


def _show_version(asked: bool) -> None:
    if asked:
        from prunus import __version__

        typer.echo(f"prunus {__version__}")
        raise typer.Exit


@app.callback()
def prunus(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compile PyTorch, ONNX and Keras models into small shared libraries with a plain C interface."""


def main() -> None:
    """Run the command line."""
    app()
