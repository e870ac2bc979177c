"""The builder of ONNX rules: it goes through a model's nodes and keeps their values by name."""

from collections import ChainMap, Counter
from collections.abc import Mapping
from typing import Any

import onnx
import torch
from torch.fx import Node

from prunus.errors import ImportModelError, PrunusError
from prunus.frontend.builder import GraphBuilder, Value
from prunus.frontend.builder.names import dotted
from prunus.frontend.onnx.names import is_anonymous, module_of
from prunus.frontend.onnx.order import captures, in_order
from prunus.frontend.onnx.table import Operation, domain_key, find_rule
from prunus.frontend.onnx.tensors import TensorReader
from prunus.frontend.onnx.values import Results


class Builder(GraphBuilder):
    """Builds the graph of one ONNX model."""

    def __init__(self, opsets: Mapping[str, int], tensors: TensorReader) -> None:
        super().__init__()
        self._opsets, self._tensors = opsets, tensors
        self._values: ChainMap[str, Any] = ChainMap()
        self._uses: Counter[Node] = Counter()

    def used_once(self, value: Node) -> bool:
        """Tell whether one ONNX node at most reads `value`, so that it may be absorbed there."""
        return self._uses[value] <= 1

    def set_input(self, name: str, value: Value) -> None:
        """Give a model input its value: a placeholder, or a constant."""
        self._values[name] = value

    def inline(self, graph: onnx.GraphProto) -> list[Value]:
        """Import a graph and return its outputs: the model's, or a branch, which sees the names around it."""
        outer = self._values
        self._values = outer.new_child()
        for initializer in graph.initializer:
            tensor = self._tensors.read(initializer)
            self._remember(tensor, initializer.name)
            self._values[initializer.name] = tensor
        readers = Counter(name for node in graph.node for name in (*node.input, *captures(node)))
        readers.update(output.name for output in graph.output)
        for node in in_order(graph):
            self._run(node, readers)
        results = [self._lookup(output.name, "the list of outputs") for output in graph.output]
        self._values = outer
        return results

    def _run(self, node: onnx.NodeProto, readers: Counter[str]) -> None:
        operation = self._describe(node)
        before, self.module = self.module, operation.module
        domain = domain_key(node.domain)
        rule = find_rule(domain, node.op_type, self._opsets.get(domain, 1))
        assert rule is not None, f"{node.op_type} has passed the scan without a rule"
        try:
            results = _as_list(rule(self, operation))
        except PrunusError:
            raise
        except Exception as error:
            raise ImportModelError(
                f"{operation} does not work out: {str(error).splitlines()[0] if str(error) else error!r}",
                expected="inputs, attributes and shapes that fit each other",
                do="check the file with onnx.checker.check_model(path, full_check=True), and the shapes of the inputs",
            ) from error
        self.module = before
        for name, result in zip(node.output, results, strict=False):
            self._values[name] = result
            if isinstance(result, Node):
                self._uses[result] += readers[name]
                result.meta.setdefault("onnx_node", node.name)
            elif isinstance(result, torch.Tensor):
                self._remember(result, name)

    def _remember(self, tensor: torch.Tensor, name: str) -> None:
        """Name a constant as the file does, unless an exporter has invented the name."""
        self.constants.remember(tensor, "" if is_anonymous(name) else dotted(name))

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


def _as_list(results: Results) -> list[Any]:
    return list(results) if isinstance(results, (list, tuple)) else [results]
