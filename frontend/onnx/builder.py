"""The builder that rules write the graph with: it evaluates what is constant and records the rest."""

import operator
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node
from torch.fx.node import map_aggregate, map_arg
from torch.utils._pytree import tree_leaves

from prunus.errors import ImportModelError, PrunusError
from prunus.frontend.onnx.constants import Constants
from prunus.frontend.onnx.names import dotted, identifier, module_of
from prunus.frontend.onnx.order import captures, in_order
from prunus.frontend.onnx.size import check_constant_size
from prunus.frontend.onnx.table import Operation, domain_key, find_rule
from prunus.frontend.onnx.tensors import TensorReader
from prunus.frontend.onnx.values import Results, Value, dtype_of
from prunus.passes.graph import Graph


class Builder:
    """Builds one graph.

    Attributes:
        graph: the graph so far.
        constants: what gives weights their names and nodes.
    """

    def __init__(self, opsets: Mapping[str, int], tensors: TensorReader) -> None:
        self.graph = Graph(torch.nn.Module(), torch.fx.Graph())
        self._mode = FakeTensorMode()
        self.constants = Constants(self.graph, self._mode)
        self._opsets, self._tensors = opsets, tensors
        self._values: ChainMap[str, Any] = ChainMap()
        self._uses: Counter[Node] = Counter()
        self._operation: Operation | None = None

    def call(self, target: Any, *args: Any, **kwargs: Any) -> Value:
        """Call an operator with one result.

        Args:
            target: overload of an `aten` operator, `aten.relu.default`.
            args, kwargs: its arguments; values may be constants or nodes, also inside lists.

        Returns:
            A constant if all values are constant, else a node.
        """
        result = self._apply(target, args, kwargs)
        assert isinstance(result, (torch.Tensor, Node))
        return result

    def call_many(
        self, target: Any, *args: Any, shapes: Sequence[tuple[int, ...]] | None = None, **kwargs: Any
    ) -> tuple[Value, ...]:
        """Call an operator with several results.

        Args:
            shapes: those of the results, all of the dtype of the first argument; else they are worked out. Recurrent
                networks give them, because PyTorch goes through every time step to find them.
        """
        result = self._apply(target, args, kwargs, shapes)
        if not isinstance(result, Node):
            return tuple(result)
        items = []
        for index, described in enumerate(result.meta["val"]):
            item = self.graph.graph.create_node("call_function", operator.getitem, (result, index), name="getitem")
            item.meta["val"] = described
            items.append(item)
        return tuple(items)

    def parameter(self, value: Value | None, role: str = "weight") -> Value | None:
        """Return the node of a trainable parameter for a float constant; other values as they are.

        Args:
            role: last part of the name (`weight`, `bias`) where the file has no name that says something.
        """
        if not isinstance(value, torch.Tensor):
            return value
        return self.constants.node(value, parameter=True, name=self._named(role))

    def used_once(self, value: Node) -> bool:
        """Tell whether one ONNX node at most reads `value`, so that it may be absorbed there."""
        return self._uses[value] <= 1

    def placeholder(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Add a model input called `name` in the file."""
        node = self.graph.graph.placeholder(identifier(name))
        with self._mode:
            node.meta["val"] = torch.empty(shape, dtype=dtype)
        self._values[name] = node

    def set_constant_input(self, name: str, tensor: torch.Tensor) -> None:
        """Make a model input a constant."""
        self._values[name] = tensor

    def inline(self, graph: onnx.GraphProto) -> list[Value]:
        """Import a graph and return its outputs: the model's, or a branch, which sees the names around it."""
        outer = self._values
        self._values = outer.new_child()
        for initializer in graph.initializer:
            tensor = self._tensors.read(initializer)
            self.constants.remember(tensor, initializer.name)
            self._values[initializer.name] = tensor
        readers = Counter(name for node in graph.node for name in (*node.input, *captures(node)))
        readers.update(output.name for output in graph.output)
        for node in in_order(graph):
            self._run(node, readers)
        results = [self._lookup(output.name, "the list of outputs") for output in graph.output]
        self._values = outer
        return results

    def _run(self, node: onnx.NodeProto, readers: Counter[str]) -> None:
        before, self._operation = self._operation, self._describe(node)
        domain = domain_key(node.domain)
        rule = find_rule(domain, node.op_type, self._opsets.get(domain, 1))
        assert rule is not None, f"{node.op_type} has passed the scan without a rule"
        try:
            results = _as_list(rule(self, self._operation))
        except PrunusError:
            raise
        except Exception as error:
            raise ImportModelError(
                f"{self._operation} does not work out: {str(error).splitlines()[0] if str(error) else error!r}",
                expected="inputs, attributes and shapes that fit each other",
                do="check the file with onnx.checker.check_model(path, full_check=True), and the shapes of the inputs",
            ) from error
        self._operation = before
        for name, result in zip(node.output, results, strict=False):
            self._values[name] = result
            if isinstance(result, Node):
                self._uses[result] += readers[name]
                result.meta.setdefault("onnx_node", node.name)
            elif isinstance(result, torch.Tensor):
                self.constants.remember(result, name)

    def _describe(self, node: onnx.NodeProto) -> Operation:
        name = node.name or next((output for output in node.output if output), node.op_type)
        where = f"{node.op_type} node {name!r}"
        return Operation(
            op_type=node.op_type,
            domain=domain_key(node.domain),
            name=name,
            module=module_of(node) or dotted(name),
            inputs=tuple(self._lookup(value, where) if value else None for value in node.input),
            attributes={attribute.name: self._tensors.attribute(attribute) for attribute in node.attribute},
            outputs=tuple(node.output),
        )

    def _lookup(self, name: str, where: str) -> Any:
        if name not in self._values:
            raise ImportModelError(
                f"{where} reads {name!r}, which nothing produces",
                expected="an input, an initializer or an output of a node",
                do="check the file with onnx.checker.check_model; further results (the mask of Dropout, the indices of "
                "MaxPool) must be unused",
            )
        return self._values[name]

    def _apply(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> Any:
        if not any(isinstance(leaf, Node) for leaf in tree_leaves((args, kwargs))):
            check_constant_size(target, args, kwargs, self._mode)
            with torch.no_grad():
                return target(*args, **kwargs)
        args, kwargs = map_aggregate((args, kwargs), self._as_argument)
        name = target.overloadpacket.__name__
        node = self.graph.graph.create_node("call_function", target, args, kwargs, name=name)
        with self._mode, torch.no_grad():
            if shapes is not None:
                result = [torch.empty(shape, dtype=dtype_of(node.all_input_nodes[0])) for shape in shapes]
            else:
                result = target(*map_arg(args, _description), **map_arg(kwargs, _description))
        node.meta["val"] = tuple(result) if isinstance(result, list) else result
        return node

    def _as_argument(self, leaf: Any) -> Any:
        return self.constants.node(leaf, name=self._named("constant")) if isinstance(leaf, torch.Tensor) else leaf

    def _named(self, role: str) -> str:
        return role if self._operation is None else f"{self._operation.module}.{role}"


def _description(node: Node) -> Any:
    return node.meta["val"]


def _as_list(results: Results) -> list[Any]:
    return list(results) if isinstance(results, (list, tuple)) else [results]
