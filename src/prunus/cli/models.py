"""Models and options as people type them."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from prunus.errors import ImportModelError

_MODEL = "A .onnx, .pt2, .keras or .h5 file, or file.py:function that returns (module, example_inputs)."
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
Shapes = Annotated[list[str] | None, typer.Option("--shape", help='Shape of an input with open sizes: "x=1,3,48,192".')]
Constants = Annotated[list[str] | None, typer.Option("--constant", help='Input that becomes a constant: "sr=16000".')]


@dataclass(frozen=True)
class Model:
    """What `prunus.compile` takes: the model and the arguments that go with it."""

    model: Any
    arguments: dict[str, Any]


def read_model(text: str, shapes: Sequence[str] | None, constants: Sequence[str] | None) -> Model:
    """Return the model that MODEL, `--shape` and `--constant` describe.

    Raises:
        BadParameter: an option that cannot be read.
        ImportModelError: a function that is missing, fails, or returns something else.
    """
    arguments: dict[str, Any] = {}
    if shapes:
        arguments["input_shapes"] = dict(_shape(item) for item in shapes)
    if constants:
        arguments["constant_inputs"] = dict(_constant(item) for item in constants)
    if ":" not in text or Path(text).exists():
        return Model(text, arguments)
    function = load_function(text)
    try:
        made = function()
    except Exception as error:
        raise ImportModelError(
            f"{text} raised {type(error).__name__}: {error}", do="mend the function, or run it with --debug"
        ) from error
    if not (isinstance(made, tuple) and len(made) == 2):
        raise ImportModelError(f"{text} returned {type(made).__name__}", expected="a tuple (module, example_inputs)")
    module, examples = made
    return Model(module, {**arguments, "example_inputs": examples})


def load_function(text: str) -> Callable[..., Any]:
    """Return the function `file.py:name` or `package.module:name`; the current folder is searched as well.

    Raises:
        ImportModelError: there is no such module or function.
    """
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise ImportModelError(f"{text!r} names no function", expected="file.py:function or package.module:function")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_name(place)
    except Exception as error:
        raise ImportModelError(
            f"{place} does not import: {error}", do="check the name and the file's own imports"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise ImportModelError(f"{place} has no function {name!r}", do=f"name one of {known}" if known else "add it")
    return function


def _import_name(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up by name.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.replace("x", ",").split(",") if size.strip())
    except ValueError:
        shape = (0,)
    if not (name and equals) or any(size < 1 for size in shape):
        raise typer.BadParameter(f'{text!r} is no shape: write "name=1,3,224,224"', param_hint="--shape")
    return name, shape


def _constant(text: str) -> tuple[str, bool | int | float]:
    name, equals, number = text.rpartition("=")
    if name and equals:
        if number.lower() in ("true", "false"):
            return name, number.lower() == "true"
        for kind in (int, float):
            try:
                return name, kind(number)
            except ValueError:
                continue
    raise typer.BadParameter(f'{text!r} is no constant: write "name=16000"', param_hint="--constant")
