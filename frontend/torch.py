"""PyTorch modules, exported programs and FX graphs to the one graph."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from prunus.errors import DynamicShape, ImportModelError, MissingInputs
from prunus.frontend.finite import check_finite
from prunus.frontend.functional import functionalize
from prunus.passes.graph import Graph, refresh, set_constant


def import_torch(
    module: torch.nn.Module,
    example_inputs: Sequence[Any] | None,
    *,
    example_kwargs: Mapping[str, Any] | None = None,
) -> Graph:
    """Export a module in evaluation mode and return its graph; the module and its parameters stay as they are.

    Args:
        module: any module that `torch.export` accepts, a `torch.fx.GraphModule` among them.
        example_inputs: positional arguments that fix shapes and dtypes.
        example_kwargs: keyword arguments likewise.

    Raises:
        MissingInputs: no example inputs.
        ImportModelError: `torch.export` cannot follow the module; its own message is passed on.
    """
    if example_inputs is None:
        raise MissingInputs(
            f"{type(module).__name__} has no shapes of its own and `example_inputs` is missing",
            expected="a tuple of tensors as the module's forward takes them",
            do="pass example_inputs=(torch.zeros(1, 3, 224, 224),)",
        )
    with _evaluation_mode(module), _quiet():
        try:
            program = torch.export.export(module, tuple(example_inputs), dict(example_kwargs or {}), strict=False)
        except Exception as error:
            first = str(error).strip().splitlines()[:6]
            raise ImportModelError(
                f"torch.export cannot follow {type(module).__name__}: " + "\n".join(first),
                expected="a forward without branches on the values of tensors",
                do="see the torch.export documentation on rewriting such code, or export to ONNX and compile that file",
            ) from error
    return import_exported(program)


def import_exported(
    program: ExportedProgram,
    *,
    example_inputs: Sequence[Any] | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Graph:
    """Return the graph of an exported program, its parameters copied.

    Symbolic dimensions are fixed by exporting again for `example_inputs` or for `input_shapes`.

    Raises:
        DynamicShape: symbolic dimensions that neither of them fixes.
    """
    symbolic = _symbolic_inputs(program)
    if symbolic:
        inputs = (
            tuple(example_inputs) if example_inputs is not None else _inputs_of_shapes(symbolic, input_shapes or {})
        )
        return import_torch(program.module(), inputs)
    program, nodes = functionalize(program)
    if program.graph_signature.user_inputs_to_mutate:
        raise ImportModelError(
            "the program writes into its own inputs",
            expected="a forward without side effects",
            do="return the new value instead",
        )
    graph = _unlift(program, nodes)
    check_finite(graph)
    return graph


def load_pt2(path: Path) -> ExportedProgram:
    """Load a `.pt2` file.

    Raises:
        ImportModelError: not a file that `torch.export.save` wrote.
    """
    try:
        with _quiet():
            return torch.export.load(path)
    except Exception as error:
        raise ImportModelError(
            f"{path} does not load as an exported program: {str(error).splitlines()[0] if str(error) else error!r}",
            expected="a file written by torch.export.save", do="export the model again",
        ) from error  # fmt: skip


def _unlift(program: ExportedProgram, nodes: torch.fx.Graph) -> Graph:
    """Turn the placeholders of parameters and buffers into `get_attr` nodes, and keep only what users see."""
    signature = program.graph_signature
    lifted = {spec.arg.name: spec for spec in signature.input_specs if spec.kind is not InputKind.USER_INPUT}
    graph = Graph(torch.nn.Module(), torch.fx.Graph())
    copies: dict[int, torch.Tensor] = {}
    remap: dict[Node, Any] = {}
    for node in nodes.nodes:
        if node.op == "placeholder" and node.name in lifted:
            name = lifted[node.name].target
            tensor = program.state_dict.get(name, program.constants.get(name))
            if not isinstance(tensor, torch.Tensor):
                raise ImportModelError(f"input {node.name!r} is a {type(tensor).__name__}, not a tensor")
            set_constant(graph, name, _copy(tensor, copies))
            remap[node] = graph.graph.get_attr(name)
        elif node.op == "output":
            specs = zip(signature.output_specs, node.args[0], strict=True)
            users = [result for spec, result in specs if spec.kind is OutputKind.USER_OUTPUT]
            results = [result for result in users if isinstance(result, Node)]
            graph.graph.output(tuple(remap[result] for result in results))
        elif not str(node.target).startswith("aten._assert"):  # export's checks of dtypes and values compute nothing
            remap[node] = graph.graph.node_copy(node, lambda n: remap[n])
        if node in remap:
            remap[node].meta = {key: node.meta[key] for key in ("val", "stack_trace") if key in node.meta}
    for node in [n for n in graph.graph.nodes if n.op == "placeholder" and not isinstance(n.meta["val"], torch.Tensor)]:
        if node.users:
            raise ImportModelError(f"input {node.name!r} is a {type(node.meta['val']).__name__}, not a tensor")
        graph.graph.erase_node(node)  # None and Python numbers that export has made part of the graph
    graph.meta["output_names"] = _output_names(program, len(results))
    return refresh(graph)


def _copy(tensor: torch.Tensor, copies: dict[int, torch.Tensor]) -> torch.Tensor:
    """Copy a tensor once, so that shared weights stay shared."""
    if id(tensor) not in copies:
        copy = tensor.detach().clone(memory_format=torch.contiguous_format).cpu()
        trainable = isinstance(tensor, torch.nn.Parameter) and (copy.is_floating_point() or copy.is_complex())
        copies[id(tensor)] = torch.nn.Parameter(copy) if trainable else copy
    return copies[id(tensor)]


def _output_names(program: ExportedProgram, count: int) -> list[str]:
    """Name outputs by the keys of the mapping that the module returns, else output, or output_0, output_1, ...

    The mapping may be any that PyTorch takes apart by its keys: a dictionary, or a class that a library registers.
    """
    spec = program.call_spec.out_spec
    keys = spec.context if spec is not None and isinstance(spec.context, list | tuple) else ()
    if spec is not None and len(keys) == count == spec.num_leaves and all(isinstance(key, str) for key in keys):
        return [str(key) for key in keys]
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _symbolic_inputs(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """Return the fake tensors of all user inputs if any of them has a symbolic dimension, else nothing."""
    users = set(program.graph_signature.user_inputs)
    found = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in users
    }
    dynamic = any(not isinstance(size, int) for fake in found.values() for size in getattr(fake, "shape", ()))
    return found if dynamic else {}


def _inputs_of_shapes(
    symbolic: dict[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[torch.Tensor, ...]:
    open_inputs = {
        name: tuple(str(size) for size in fake.shape)
        for name, fake in symbolic.items()
        if name not in shapes and any(not isinstance(size, int) for size in fake.shape)
    }
    if open_inputs:
        listed = ", ".join(f"{name} ({', '.join(dims)})" for name, dims in open_inputs.items())
        example = ", ".join(f'"{name}": ({", ".join("1" for _ in dims)},)' for name, dims in open_inputs.items())
        raise DynamicShape(
            f"inputs with symbolic dimensions: {listed}", expected="static shapes",
            do=f"pass example_inputs=(...) or input_shapes={{{example}}}",
        )  # fmt: skip
    return tuple(
        torch.ones(tuple(shapes.get(name, tuple(fake.shape))), dtype=fake.dtype) for name, fake in symbolic.items()
    )


@contextlib.contextmanager
def _evaluation_mode(module: torch.nn.Module) -> Iterator[None]:
    """Switch to evaluation mode and give every submodule its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's notes about its own deprecations away from users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
