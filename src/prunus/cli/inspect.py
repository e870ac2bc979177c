"""prunus inspect."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from prunus.cli.console import AsJson, console, print_json
from prunus.cli.models import Constants, Model, ModelArgument, Shapes, read_model


def inspect(
    model: ModelArgument,
    shape: Shapes = None,
    constant: Constants = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="What pruning could cut: groups of channels, and what stays and why.")
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option(help='With --groups: layers that keep their channels, "head.*".')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the report of a compiled model (DIR), or what a model (a file, or file.py:function) consists of."""
    if Path(model).is_dir() or Path(model).suffix == ".json":
        if groups:
            raise typer.BadParameter("a library is not pruned any more: name the model that it was compiled from")
        _inspect_library(Path(model), as_json)
        return
    if groups:
        _inspect_groups(read_model(model, shape, constant), keep or [], as_json)
        return
    facts = _facts(read_model(model, shape, constant))
    if as_json:
        print_json(facts)
        return
    out = console()
    for key in ("inputs", "outputs"):
        for tensor in facts[key]:
            out.print(f"{key[:-1]:8}{tensor['name']} {tensor['dtype']}{tensor['shape']}", highlight=False, markup=False)
    out.print(f"weights {facts['parameters']:,} numbers, {facts['parameters_bytes'] / 1000:,.1f} kB", highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("operator")
    table.add_column("count", justify="right")
    for operator, count in facts["operators"].items():
        table.add_row(operator, str(count))
    out.print(table)


def _inspect_library(place: Path, as_json: bool) -> None:
    import prunus

    report = prunus.load(place).report
    if as_json:
        print_json(report.as_dict())
        return
    out = console()
    for part in report.renderables():
        out.print(part)


def _inspect_groups(given: Model, keep: list[str], as_json: bool) -> None:
    from prunus import import_model
    from prunus.passes.prune import describe

    plan = describe(import_model(given.model, **given.arguments), keep=keep)
    if as_json:
        print_json(plan.as_dict())
        return
    out = console()
    for part in plan.renderables():
        out.print(part, markup=False, highlight=False)


def _facts(given: Model) -> dict[str, Any]:
    """Import a model and describe its graph as the frontend leaves it."""
    from prunus import import_model
    from prunus.passes.graph import calls, inputs, outputs, shape, value

    graph = import_model(given.model, **given.arguments)

    def describe(names: list[str], nodes: list[Any]) -> list[dict[str, Any]]:
        return [
            {"name": name, "dtype": str(value(node).dtype).removeprefix("torch."), "shape": list(shape(node))}
            for name, node in zip(names, nodes, strict=True)
        ]

    counts = Counter(str(node.target).removesuffix(".default") for node in calls(graph))
    tensors = {id(tensor): tensor for tensor in graph.parameters()}.values()
    return {
        "inputs": describe(
            graph.meta.get("input_names") or [str(node.target) for node in inputs(graph)], inputs(graph)
        ),
        "outputs": describe(graph.meta["output_names"], outputs(graph)),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "parameters_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "operators": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    }
