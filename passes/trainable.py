"""A graph as people train it: any batch size, `train()` and `eval()` that switch batch norm and dropout."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Interpreter, Node

from prunus.passes.fake_quantization import FAKE
from prunus.passes.graph import Graph, aten, calls, copy_graph, inputs, is_op, shape, value
from prunus.passes.numbers import largest_error

# A batch larger by this factor shows which dimension of each value is the batch: no other size grows along.
_PROBE = 3
# Of the largest output: larger batches may round differently. A batch in the wrong place changes far more.
_ROUNDING = 1e-3
# Position of the argument that says whether the operator trains.
_TRAINING_FLAG = {aten.batch_norm.default: 5, aten.dropout.default: 2, aten.feature_dropout.default: 2}


class TrainableGraph(torch.nn.Module):
    """A graph with the parameters of `graph` (the very same tensors) that takes batches of any size.

    Graphs are made for the batch of their example inputs. Here reshapes leave the batch open where that is right,
    which is tried on random numbers; else the samples of a batch go through one after the other.

    Args:
        graph: in canonical form, with its batch in dimension 0 of every input and output.

    Attributes:
        any_batch: whether batches run at once.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._batch = shape(inputs(graph)[0])[0] if inputs(graph) and shape(inputs(graph)[0]) else 1
        opened = open_batch(graph)
        self.any_batch = opened is not None
        self.graph_module = opened if opened is not None else copy_graph(graph)
        self.train(False)

    def train(self, mode: bool = True) -> "TrainableGraph":
        """Switch batch norm and dropout."""
        super().train(mode)
        for node in calls(self.graph_module, *_TRAINING_FLAG):
            node.update_arg(_TRAINING_FLAG[node.target], mode)  # type: ignore[index]
        self.graph_module.recompile()
        return self

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Return the one output as it is, several as a tuple."""
        count = tensors[0].shape[0] if tensors and tensors[0].dim() else self._batch
        if self.any_batch or count == self._batch:
            return _unpack(self.graph_module(*tensors))
        parts = [tensor.split(self._batch) for tensor in tensors]
        results = [self.graph_module(*chunk) for chunk in zip(*parts, strict=True)]
        return _unpack(tuple(torch.cat(pieces) for pieces in zip(*results, strict=True)))


def _unpack(results: tuple[torch.Tensor, ...]) -> Any:
    return results[0] if len(results) == 1 else tuple(results)


def open_batch(graph: Graph) -> Graph | None:
    """Return a copy that shares the tensors and takes any batch, None where there is no such form.

    before:  reshape(x, [1, 16, 49])
    after:   reshape(x, [-1, 16, 49])

    Fake quantisation is left out while that is tried: there the last bit of a number decides over a whole step.
    """
    opened = _open_batch(_rewrite_fakes(copy_graph(graph)))
    return None if opened is None else _restore_fakes(opened, graph)


def _rewrite_fakes(graph: Graph) -> Graph:
    """fake_quantize(x, scale, ...) --> clone(x)"""
    for node in calls(graph, FAKE):
        node.args, node.target = node.args[:1], aten.clone.default
    graph.recompile()
    return graph


def _restore_fakes(graph: Graph, original: Graph) -> Graph:
    """Make fake quantisation again of the nodes that are so in `original`."""
    twins = {node.name: node for node in graph.graph.nodes}
    for node in calls(original, FAKE):
        twin = twins[node.name]
        twin.args = (*twin.args, *torch.fx.map_arg(node.args[1:], lambda read: twins[read.name]))
        twin.target = node.target
    graph.recompile()
    return graph


def _open_batch(graph: Graph) -> Graph | None:
    nodes = inputs(graph)
    sizes = {shape(node)[0] for node in nodes if shape(node)}
    if len(sizes) != 1 or any(not shape(node) for node in nodes):
        return None
    opened = copy_graph(graph)
    generator = torch.Generator().manual_seed(0)
    single = [_random(node, shape(node), generator) for node in nodes]
    others = [[tensor, *(_random(node, shape(node), generator) for _ in range(_PROBE - 1))]
              for node, tensor in zip(nodes, single, strict=True)]  # fmt: skip
    try:
        with torch.no_grad():
            _Opener(opened, sizes.pop()).run(*(torch.cat(tensors) for tensors in others))
            opened.recompile()
            if _same(graph, opened, others):
                return opened
            # In float64 a graph that magnifies rounding still gives the same for one and for several.
            exact = [[tensor.double() if tensor.is_floating_point() else tensor for tensor in one] for one in others]
            return opened if _same(copy.deepcopy(graph).double(), copy.deepcopy(opened).double(), exact) else None
    except (RuntimeError, ValueError, IndexError):
        return None


def _same(graph: Graph, opened: Graph, inputs: Sequence[Sequence[torch.Tensor]]) -> bool:
    """Tell whether `opened` computes for several samples what `graph` does for one after the other."""
    together = opened(*(torch.cat(list(samples)) for samples in inputs))
    alone = [graph(*sample) for sample in zip(*inputs, strict=True)]
    for result, *samples in zip(together, *alone, strict=True):
        expected = torch.cat(samples) if samples[0].dim() else samples[0]
        if result.shape != expected.shape or largest_error(expected, result) > _ROUNDING:
            return False
    return True


def _random(node: Node, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    dtype = value(node).dtype
    if dtype.is_floating_point:
        return torch.randn(size, generator=generator, dtype=dtype)
    return torch.randint(2, size, generator=generator).to(dtype)


class _Opener(Interpreter):
    """Runs a graph on a larger batch and rewrites, on the way, the nodes that state the smaller one."""

    def __init__(self, graph: Graph, batch: int) -> None:
        super().__init__(graph)
        self.nodes, self.batch = graph.graph, batch
        self.first = inputs(graph)[0]
        self._size: Node | None = None

    def run_node(self, n: Node) -> Any:
        if is_op(n, aten.reshape.default):
            self._open_reshape(n)
        elif is_op(n, aten.expand.default):
            self._open_expand(n)
        elif is_op(n, aten.cat.default):
            self._repeat_parts(n)
        elif is_op(n, aten.gru.input, aten.lstm.input):
            self._repeat_states(n)
        elif is_op(n, aten.gather.default):
            self._repeat_source(n)
        elif is_op(n, aten.index_select.default):
            self._move_picks(n)
        return super().run_node(n)

    def _grown(self, node: Node) -> int | None:
        """Return the dimension along which the larger batch shows."""
        actual = self.env[node]
        for dim, (size, stated) in enumerate(zip(actual.shape, shape(node), strict=True)):
            if size == stated * _PROBE and size != stated:
                return dim
        return None

    def _open_reshape(self, node: Node) -> None:
        source, sizes = node.args[0], list(node.args[1])  # type: ignore[arg-type]
        assert isinstance(source, Node)
        dim = self._grown(source)
        if dim is None:
            return
        left = math.prod(shape(source)[:dim])
        prefix = [math.prod(sizes[:position]) for position in range(len(sizes))]
        exact = [p for p, before in enumerate(prefix) if before == left and sizes[p] == self.batch]
        merged = [p for p, before in enumerate(prefix) if before <= left < before * sizes[p] or before == left == 1]
        place = 0 if dim == 0 else (exact or merged or [0])[0]
        sizes[place] = -1
        node.update_arg(1, sizes)

    def _open_expand(self, node: Node) -> None:
        source, sizes = node.args[0], list(node.args[1])  # type: ignore[arg-type]
        assert isinstance(source, Node)
        dim = self._grown(source)
        if dim is not None:
            sizes[dim + len(sizes) - len(shape(source))] = -1
            node.update_arg(1, sizes)
        elif sizes and sizes[0] == self.batch and shape(source)[:1] != (self.batch,):
            node.update_arg(1, [self._batch_size(), *sizes[1:]])

    def _repeat_parts(self, node: Node) -> None:
        """Repeat parts without a batch, a class token say, where the other parts have one."""
        parts: list[Node] = list(node.args[0])  # type: ignore[arg-type]
        grown = next((dim for dim in map(self._grown, parts) if dim is not None), None)
        if grown is not None:
            node.update_arg(
                0, [part if self._grown(part) is not None else self._repeat(part, grown, node) for part in parts]
            )

    def _repeat_states(self, node: Node) -> None:
        """Repeat the initial states of recurrent layers, (layers, batch, hidden)."""
        states = node.args[1]
        if isinstance(states, Node):
            node.update_arg(1, states if self._grown(states) is not None else self._repeat(states, 1, node))
        else:
            given: list[Node] = list(states)  # type: ignore[arg-type]
            node.update_arg(1, [s if self._grown(s) is not None else self._repeat(s, 1, node) for s in given])

    def _repeat_source(self, node: Node) -> None:
        """Repeat what all samples gather from: positions from a table, say."""
        source, _, index = node.args[:3]
        assert isinstance(source, Node)
        assert isinstance(index, Node)
        grown = self._grown(index)
        if grown is not None and self._grown(source) is None:
            node.update_arg(0, self._repeat(source, grown, node))

    def _move_picks(self, node: Node) -> None:
        """Let each sample pick from its own rows where the batch is part of the dimension that is picked from.

        before:  index_select(x: (16, 64), 0, index: (n,))
        after:   index_select(x: (batch * 16, 64), 0, index + 16 * sample: (batch * n,))

        `x[torch.arange(batch), last]` is of that kind, and masks that know of the batch.
        """
        source, dim, index = node.args[:3]
        assert isinstance(source, Node)
        assert isinstance(index, Node)
        if self.batch != 1 or dim != 0 or self._grown(source) != 0:
            return
        rows, picks = shape(source)[0], shape(index)[0]
        samples = self._append(node, aten.arange.default, self._batch_size())
        starts = self._append(node, aten.reshape.default, self._append(node, aten.mul.Tensor, samples, rows), [-1, 1])
        own = self._append(node, aten.reshape.default, index, [-1, picks])
        moved = self._append(node, aten.add.Tensor, own, starts)
        node.update_arg(2, self._append(node, aten.reshape.default, moved, [-1]))

    def _repeat(self, node: Node, dim: int, before: Node) -> Node:
        """Return a value's first sample along `dim`, once for each sample of the batch."""
        stated = value(node)
        if shape(node)[dim] != 1:
            node = self._append(before, aten.slice.Tensor, node, dim, 0, 1)
        size: list[Any] = list(stated.shape)
        size[dim] = self._batch_size()
        repeated = self._append(before, aten.expand.default, node, size)
        repeated.meta = {"val": stated}
        return repeated

    def _append(self, before: Node, target: Any, *arguments: Any) -> Node:
        """Write one call before a node, and run it."""
        with self.nodes.inserting_before(before):
            call = self.nodes.call_function(target, arguments)
        self.env[call] = target(*torch.fx.map_arg(arguments, lambda read: self.env[read]))
        call.meta = {"val": self.env[call]}
        return call

    def _batch_size(self) -> Node:
        if self._size is None:
            with self.nodes.inserting_after(self.first):
                self._size = self.nodes.call_function(aten.sym_size.int, (self.first, 0))
            self.env[self._size] = self.batch * _PROBE
        return self._size
