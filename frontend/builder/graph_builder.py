"""What rules write a graph with, whatever they read: it evaluates what is constant and records the rest."""

import contextlib
import logging
import operator
from collections.abc import Iterator, Sequence
from typing import Any, overload

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node
from torch.fx.node import map_aggregate, map_arg
from torch.utils._pytree import tree_leaves

from prunus.frontend.builder.constants import Constants
from prunus.frontend.builder.names import identifier
from prunus.frontend.builder.size import check_constant_size
from prunus.frontend.builder.values import Value, dtype_of
from prunus.frontend.finite import check_finite
from prunus.passes.graph import Graph, tidy


class GraphBuilder:
    """Builds one graph; each framework that is not PyTorch has its own, which knows how to go through its models.

    Attributes:
        graph: the graph so far.
        constants: what gives weights their names and nodes.
        module: path of the module that is being written, for names of weights; empty for none.
    """

    def __init__(self) -> None:
        self.graph = Graph(torch.nn.Module(), torch.fx.Graph())
        self._mode = FakeTensorMode()
        self.constants = Constants(self.graph, self._mode)
        self.module = ""

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

    @overload
    def parameter(self, value: Value, role: str = "weight") -> Value: ...

    @overload
    def parameter(self, value: None, role: str = "weight") -> None: ...

    def parameter(self, value: Value | None, role: str = "weight") -> Value | None:
        """Return the node of a trainable parameter for a float constant; other values as they are.

        Args:
            role: last part of the name (`weight`, `bias`) where the file has no name that says something.
        """
        if not isinstance(value, torch.Tensor):
            return value
        return self.constants.node(value, parameter=True, name=self._named(role))

    def placeholder(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Node:
        """Add a model input called `name` by its model."""
        node = self.graph.graph.placeholder(identifier(name))
        with self._mode:
            node.meta["val"] = torch.empty(shape, dtype=dtype)
        return node

    def finish(self, results: Sequence[Value], input_names: Sequence[str], output_names: Sequence[str]) -> Graph:
        """Return the graph, whose outputs are `results`.

        Args:
            input_names, output_names: as the model spells them.

        Raises:
            ImportModelError: weights that are not finite.
        """
        outputs = tuple(result if isinstance(result, Node) else self.constants.node(result) for result in results)
        self.graph.graph.output(outputs)
        self.graph.meta["input_names"] = list(input_names)
        self.graph.meta["output_names"] = list(output_names)
        tidy(self.graph)
        check_finite(self.graph)
        return self.graph

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
        return f"{self.module}.{role}" if self.module else role


@contextlib.contextmanager
def without_tracebacks() -> Iterator[None]:
    """Keep PyTorch from printing a traceback for an error of shapes that becomes an `ImportModelError`."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _description(node: Node) -> Any:
    return node.meta["val"]
