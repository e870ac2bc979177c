"""prunus doctor."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

import typer
from rich.table import Table

from prunus.cli.console import AsJson, console, print_json
from prunus.errors import PrunusError
from prunus.native import process_architecture
from prunus.report.units import kilobytes
from prunus.targets import Target, load_target, target_names

_PACKAGES = ("torch", "onnx", "apache-tvm", "apache-tvm-ffi", "ziglang", "numpy", "networkx")
_BUILDS = ("apache-tvm", "apache-tvm-ffi", "ziglang", "torch")


@dataclass(frozen=True)
class Finding:
    """One line: `fine` is True, False, or None for what is merely good to know."""

    what: str
    fine: bool | None
    found: str
    do: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Tell what this machine can build and run, and what to install for the rest."""
    packages, tools, machine = _packages(), _tools(), _machine()
    missing = [item.what for item in packages if item.what in _BUILDS and not item.fine]
    can_build = not missing
    rows = [*machine, *packages, *tools]
    targets = [_target(name, can_build) for name in target_names()]
    if as_json:
        print_json({"machine": [asdict(row) for row in rows], "targets": [asdict(row) for row in targets]})
    else:
        for title, part in (("this machine", rows), ("targets", targets)):
            console().print(_table(title, part))
    if not can_build:
        raise typer.Exit(1)


def _table(title: str, findings: list[Finding]) -> Table:
    signs = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title, no_wrap=True, min_width=16)
    table.add_column("")
    table.add_column("found", overflow="fold")
    table.add_column("do", overflow="fold", style="yellow")
    for item in findings:
        table.add_row(item.what, signs[item.fine], item.found, item.do)
    return table


def _machine() -> list[Finding]:
    from prunus.backends.codegen.cache import cache_dir

    cores = len(os.sched_getaffinity(0))
    try:
        native = load_target("native")
        processor = [
            Finding("processor", True, f"{native.title.partition(': ')[2]}, {cores} cores"),
            Finding("features", None, " ".join(sorted(native.features))),
        ]
    except PrunusError as error:
        processor = [Finding("processor", False, error.found, error.do)]
    folder = cache_dir()
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return [
        *processor,
        Finding("python", None, platform.python_version()),
        Finding("kernel cache", None, f"{folder}: {kilobytes(sum(sizes))} in {len(sizes)} files"),
    ]


def _packages() -> list[Finding]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(Finding(name, True, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append(Finding(name, False, "not installed", f"pip install {name}"))
    return found


def _tools() -> list[Finding]:
    from prunus.backends.codegen.toolchain import zig

    compiler = shutil.which("cc")
    tools = [
        Finding(
            "cc",
            None,
            compiler or "not installed",
            "" if compiler else "apt install gcc, to build C programs of your own",
        )
    ]
    if util.find_spec("ziglang") is not None and not os.access(zig(), os.X_OK):
        tools.append(Finding("zig", False, f"{zig()} is not executable", "pip install --force-reinstall ziglang"))
    return tools


def _target(name: str, can_build: bool) -> Finding:
    """Tell whether libraries for a target run here."""
    try:
        target = load_target(name)
    except PrunusError as error:
        return Finding(name, False, error.found, error.do)
    builds = "builds" if can_build else "does not build"
    if process_architecture() == target.architecture:
        return _here(name, target, builds)
    return _elsewhere(name, target, builds)


def _here(name: str, target: Target, builds: str) -> Finding:
    from prunus.targets.host import missing_features

    missing = sorted(missing_features(target))
    if missing:
        return Finding(
            name, False, f"{builds}; this processor lacks {', '.join(missing)}", "run it on such a processor"
        )
    return Finding(name, True, f"{builds}, runs natively")


def _elsewhere(name: str, target: Target, builds: str) -> Finding:
    from prunus.emulated import check_command

    try:
        check_command(target.runner, target=target.name, architecture=target.architecture)
    except PrunusError as error:
        return Finding(name, False, f"{builds}; {error.found}", error.do)
    return Finding(name, True, f"{builds}, runs under {Path(target.runner[0]).name}; its times are not measured")
