"""`torch.compile(module, backend="prunus")`: the graphs that TorchDynamo finds run as libraries in this process.

TorchDynamo hands over the parameters with the inputs. They become constants of the library, which is compiled again
when one of them was changed. Where sizes are symbolic, each new set of sizes gets a library of its own.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch._dynamo import config as dynamo_config
from torch.export.graph_signature import ConstantArgument, OutputKind

from prunus.artifact import Artifact
from prunus.errors import InputError, did_you_mean
from prunus.pipeline import compile

_OPTIONS = ("passes", "target", "threads")

Runner = Callable[..., Sequence[Any]]


def backend(
    module: torch.fx.GraphModule, example_inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None
) -> Runner:
    """Compile one graph of TorchDynamo for inference.

    Where gradients are wanted, where a layer is in training mode, and for tensors that are not on the CPU, the graph
    runs in PyTorch as it is, and a warning says so.

    Args:
        module: the graph.
        example_inputs: its inputs, parameters and buffers among them; symbolic integers where sizes are.
        options: `target` and `passes` as in `prunus.compile`, and `threads`, 1 by default.

    Raises:
        InputError: unknown options.
        PrunusError: from the first call, what `prunus.compile` raises.
    """
    given = dict(options or {})
    for name in given:
        if name not in _OPTIONS:
            raise InputError(f"unknown option {name!r} for the backend prunus", do=did_you_mean(name, _OPTIONS))
    tensors = [value for value in example_inputs if isinstance(value, torch.Tensor)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _eager(module, "gradients are wanted", "call the module under torch.no_grad() or torch.inference_mode()")
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return _eager(module, "a tensor is not on the CPU", "move module and inputs to the CPU")
    bound = [index for index, value in enumerate(example_inputs) if _is_bound(value)]
    return _Specialized(module, bound, given)


def _is_bound(value: Any) -> bool:
    """Tell whether an input is a parameter or buffer of the user's module."""
    return isinstance(value, torch.nn.Parameter) or hasattr(value, "_dynamo_static_input_type")


def _eager(module: torch.fx.GraphModule, reason: str, do: str) -> Runner:
    warnings.warn(f"Prunus leaves a graph to PyTorch: {reason}. Do: {do}.", stacklevel=3)
    return module.forward


class _Specialized:
    """A graph with one library for each set of input sizes and of values of its parameters."""

    def __init__(self, module: torch.fx.GraphModule, bound: Sequence[int], options: Mapping[str, Any]) -> None:
        self._module, self._bound, self._options = module, tuple(bound), options
        self._numbers = _wrapped_numbers(module)
        self._versions: tuple[tuple[int, int], ...] = ()
        self._runners: dict[tuple[Any, ...], Runner] = {}

    def __call__(self, *values: Any) -> Sequence[Any]:
        versions = tuple(_version(values[index]) for index in self._bound)
        if versions != self._versions:
            self._runners.clear()
            self._versions = versions
        key = tuple(self._kind(index, value) for index, value in enumerate(values) if index not in self._bound)
        if key in self._runners:
            return self._runners[key](*values)
        if len(self._runners) >= dynamo_config.recompile_limit:
            return self._beyond_limit(*values)
        self._runners[key] = self._specialize(values)
        return self._runners[key](*values)

    @cached_property
    def _beyond_limit(self) -> Runner:
        return _eager(
            self._module, f"it was compiled for {len(self._runners)} sets of sizes",
            "pad the inputs to fewer sizes, or raise torch._dynamo.config.recompile_limit",
        )  # fmt: skip

    def _kind(self, index: int, value: Any) -> Any:
        if index in self._numbers:
            return value.item()
        return (value.shape, value.dtype) if isinstance(value, torch.Tensor) else value

    def _specialize(self, values: Sequence[Any]) -> Runner:
        free = tuple(value for index, value in enumerate(values) if index not in self._bound)
        module = _with_numbers(self._module, {index: values[index].item() for index in self._numbers})
        with torch.no_grad():
            program = torch.export.export(_Bound(module, values, self._bound), free, strict=False)
        if _is_training(program):
            return _eager(self._module, "a layer is in training mode", "call eval() on the module")
        options = {key: self._options[key] for key in ("target", "passes") if key in self._options}
        artifact = compile(program, example_inputs=free, name="graph", **options)
        artifact.threads = self._options.get("threads", 1)
        return _Library(artifact, program, self._bound)


def _wrapped_numbers(module: torch.fx.GraphModule) -> frozenset[int]:
    """Return which inputs are numbers that TorchDynamo has wrapped in tensors: what it asks for their `item()`."""
    places = [node for node in module.graph.nodes if node.op == "placeholder"]
    return frozenset(index for index, node in enumerate(places) if any(map(_is_item, node.users)))


def _is_item(node: torch.fx.Node) -> bool:
    return node.op == "call_method" and node.target == "item" and node.all_input_nodes[0].op == "placeholder"


def _with_numbers(module: torch.fx.GraphModule, numbers: Mapping[int, float]) -> torch.fx.GraphModule:
    """Return the graph with wrapped numbers written into it."""
    if not numbers:
        return module
    graph, copies, places = torch.fx.Graph(), dict[torch.fx.Node, Any](), dict[torch.fx.Node, int]()
    for node in module.graph.nodes:
        if node.op == "placeholder":
            places[node] = len(places)
        known = numbers.get(places.get(node.all_input_nodes[0], -1)) if _is_item(node) else None
        copies[node] = graph.node_copy(node, copies.__getitem__) if known is None else known
    return torch.fx.GraphModule(module, graph)


class _Bound(torch.nn.Module):
    """A graph whose bound inputs are parameters and buffers."""

    def __init__(self, module: torch.fx.GraphModule, values: Sequence[Any], bound: Sequence[int]) -> None:
        super().__init__()
        self._module, self._names = module, {index: f"bound{index}" for index in bound}
        self._count = len(values)
        for index, name in self._names.items():
            if isinstance(values[index], torch.nn.Parameter):
                self.register_parameter(name, values[index])
            else:
                self.register_buffer(name, values[index])

    def forward(self, *free: Any) -> Any:
        rest = iter(free)
        return self._module(
            *(getattr(self, self._names[index]) if index in self._names else next(rest) for index in range(self._count))
        )


class _Library:
    """A compiled graph: the inputs and outputs that are tensors go through the library, the others are known."""

    def __init__(self, artifact: Artifact, program: torch.export.ExportedProgram, bound: Sequence[int]) -> None:
        self._artifact, self._bound = artifact, frozenset(bound)
        self._outputs = [
            spec.arg for spec in program.graph_signature.output_specs if spec.kind is OutputKind.USER_OUTPUT
        ]

    def __call__(self, *values: Any) -> Sequence[Any]:
        tensors = [
            value for index, value in enumerate(values) if index not in self._bound and isinstance(value, torch.Tensor)
        ]
        found = self._artifact(*tensors)
        results = iter(map(torch.as_tensor, found if isinstance(found, tuple) else (found,)))
        return [arg.value if isinstance(arg, ConstantArgument) else next(results) for arg in self._outputs]


def _version(tensor: torch.Tensor) -> tuple[int, int]:
    """Return a value that changes when the tensor does."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def _is_training(program: torch.export.ExportedProgram) -> bool:
    """Tell whether a graph updates statistics or drops values at random."""
    if program.graph_signature.buffers_to_mutate:
        return True
    for node in program.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            names = [argument.name for argument in node.target._schema.arguments]
            given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
            drops = given.get("train") is True and (given.get("p") or given.get("dropout"))
            learns = given.get("training") is True and given.get("running_mean") is not None
            if drops or learns:
                return True
    return False
