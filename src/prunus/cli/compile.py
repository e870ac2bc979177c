"""prunus compile."""

from pathlib import Path
from typing import Annotated

import typer

from prunus.cli.console import AsJson, console, print_json, progress
from prunus.cli.models import Constants, ModelArgument, Shapes, load_function, read_model


def compile_model(
    model: ModelArgument,
    target: Annotated[str, typer.Option(help="A name from `prunus targets`, or a TOML file of your own.")] = "native",
    name: Annotated[
        str | None, typer.Option(help="Prefix of the library's symbols; by default the model's name.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the library, header, manifest and report.")] = Path("build"),
    shape: Shapes = None,
    constant: Constants = None,
    extra_pass: Annotated[
        list[str] | None, typer.Option("--pass", help="A pass of your own, module:function; runs before the others.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile a model into a shared library and print its report."""
    import prunus

    given = read_model(model, shape, constant)
    passes = [load_function(text) for text in extra_pass or ()]
    with progress() as show:
        artifact = prunus.compile(
            given.model, target=target, name=name or _name(model), passes=passes, progress=show, **given.arguments
        )
    folder = artifact.save(output)
    if as_json:
        files = sorted(path.name for path in folder.iterdir())
        print_json({**artifact.report.as_dict(), "folder": str(folder), "files": files})
        return
    out = console()
    for part in artifact.report.renderables():
        out.print(part)
    out.print(f"saved in {folder}/", highlight=False, markup=False)


def _name(model: str) -> str | None:
    """Return the name of a function's file, None where `prunus.compile` finds one itself."""
    from prunus.pipeline import default_name

    place, colon, function = model.rpartition(":")
    if not colon or Path(model).exists():
        return None
    return default_name(Path(place).stem if function in ("model", "make", "load") else function)
