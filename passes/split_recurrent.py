"""Split recurrent networks into layers and directions, and take the product with the inputs out of the time loop."""

import operator
from types import SimpleNamespace

import torch
from torch.fx import Node

# Registers the operators that this pass writes.
import prunus.passes.operators.recurrent  # noqa: F401
from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, calls, get_constant, is_op, shape, tidy, users_of_item
from prunus.passes.reasons import no

GRU, LSTM = aten.gru.input, aten.lstm.input
PLAIN: dict[object, str] = {aten.rnn_tanh.input: "tanh", aten.rnn_relu.input: "relu"}


def split_recurrent(graph: Graph) -> Graph:
    """Split GRU, LSTM and plain recurrent networks into one operator for each layer and direction.

    before:  x -> gru(hx, [W_ih, W_hh, b_ih, b_hh] for each layer and direction) -> y, h
    after:   x -> linear(W_ih, b_ih + b_hh) -> gru_layer(h0, W_hh) -> y0, h          for each direction
             cat(y0 of the directions) -> the next layer;  cat(h of all) -> h

    The bias b_hh of GRU's third gate is inside a product and stays with the layer.
    """
    for node in calls(graph, GRU, LSTM, *PLAIN):
        call = arguments(node)
        if _can_split(graph, node, call):
            for index, result in enumerate(_Splitter(graph, node, call).run()):
                for item in users_of_item(node, index):
                    item.replace_all_uses_with(result)
                    graph.graph.erase_node(item)
            graph.graph.erase_node(node)
    return tidy(graph)


def _can_split(graph: Graph, node: Node, call: SimpleNamespace) -> bool:
    if call.train and call.dropout > 0 and call.num_layers > 1:
        return no("dropout between its layers is in training mode", node)
    if any(get_constant(graph, weight) is None for weight in call.params):
        return no("its weights are computed, not constant", node)
    if len(call.params) != call.num_layers * (2 if call.bidirectional else 1) * (4 if call.has_biases else 2):
        return no("its states are projected (proj_size)", node)
    return True


class _Splitter:
    """Writes the layers of one node."""

    def __init__(self, graph: Graph, node: Node, call: SimpleNamespace) -> None:
        self.graph, self.node, self.call = graph, node, call
        self.emit = Emitter(graph, before=node)
        self.states: list[Node] = list(call.hx) if is_op(node, LSTM) else [call.hx]
        self.directions = 2 if call.bidirectional else 1

    def run(self) -> list[Node]:
        """Return the outputs and the last states, as the whole operator does."""
        steps = self.emit.permute(self.call.input, [1, 0, 2]) if self.call.batch_first else self.call.input
        lasts: list[list[Node]] = [[] for _ in self.states]
        for layer in range(self.call.num_layers):
            outputs = []
            for direction in range(self.directions):
                output, *last = self._layer(steps, layer * self.directions + direction, reverse=direction == 1)
                outputs.append(output)
                for collected, state in zip(lasts, last, strict=True):
                    collected.append(self.emit.reshape(state, [1, *shape(state)]))
            steps = self._cat(outputs, 2)
        output = self.emit.permute(steps, [1, 0, 2]) if self.call.batch_first else steps
        return [output, *(self._cat(states, 0) for states in lasts)]

    def _layer(self, steps: Node, index: int, reverse: bool) -> list[Node]:
        """Write one layer in one direction; return its outputs and its last states."""
        count = 4 if self.call.has_biases else 2
        input_weight, weight, *biases = self.call.params[index * count : (index + 1) * count]
        early, late = self._biases(biases) if biases else (None, None)
        gates = self.emit(aten.linear.default, steps, input_weight, early)
        starts = [self.emit.select(state, 0, index) for state in self.states]
        ops = torch.ops.prunus
        if is_op(self.node, GRU):
            layer = self.emit(ops.gru_layer.default, gates, *starts, weight, late, reverse)
        elif is_op(self.node, LSTM):
            layer = self.emit(ops.lstm_layer.default, gates, *starts, weight, reverse)
        else:
            layer = self.emit(ops.rnn_layer.default, gates, *starts, weight, PLAIN[self.node.target], reverse)
        return [self._item(layer, place) for place in range(1 + len(starts))]

    def _biases(self, nodes: list[Node]) -> tuple[Node, Node | None]:
        """Return what is added before the loop, b_ih + b_hh, and the part of GRU's b_hh that cannot be."""
        constants = [get_constant(self.graph, node) for node in nodes]
        first, second = (constant.detach() for constant in constants if constant is not None)
        name = str(nodes[0].target)
        if not is_op(self.node, GRU):
            return self.emit.constant(first + second, like=name), None
        size = len(second) // 3
        early = torch.cat([first[: 2 * size] + second[: 2 * size], first[2 * size :]])
        return self.emit.constant(early, like=name), self.emit.constant(
            second[2 * size :].clone(), like=str(nodes[1].target)
        )

    def _cat(self, nodes: list[Node], dim: int) -> Node:
        return nodes[0] if len(nodes) == 1 else self.emit(aten.cat.default, nodes, dim)

    def _item(self, layer: Node, index: int) -> Node:
        with self.graph.graph.inserting_before(self.node):
            item = self.graph.graph.call_function(operator.getitem, (layer, index))
        item.meta["val"] = layer.meta["val"][index]
        return item
