"""What a layer does when it is called: its steps, recorded by Keras on symbolic tensors."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

# Where a layer keeps lists of its own variables, beside the attributes that its `call` reads.
_BOOKS = ("_trainable_variables", "_non_trainable_variables", "_losses", "_metrics", "_seed_generators")


@dataclass(frozen=True)
class Step:
    """One call of a layer or an operation on symbolic tensors.

    Attributes:
        outputs: symbolic tensors, flat.
        masks: what Keras has attached to tensors among the arguments, by their ids.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Any, ...]
    masks: Mapping[int, Any] = field(default_factory=dict)

    @property
    def reads(self) -> list[Any]:
        """The symbolic tensors that the call reads."""
        return _symbolic((self.args, self.kwargs, list(self.masks.values())))


class Recording:
    """Records calls of layers and of `keras.ops`, and lets the user's model forget them afterwards.

    Keras keeps a graph of such calls itself, but notes a layer's arguments without the masks that it hands along and
    without the casts of mixed precision; so those are noted here.
    """

    def __init__(self) -> None:
        self._calls: dict[int, Step] = {}

    @contextlib.contextmanager
    def of(self, operation: Any) -> Iterator[None]:
        """Record while the context lasts; `operation` and all below it stay as they were."""
        owners = {id(part): part for part in _parts(operation)}.values()
        lengths = [(part, len(part._inbound_nodes), len(part._outbound_nodes)) for part in owners]
        plain = keras.Layer.symbolic_call

        def symbolic_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            attached = {id(tensor): getattr(tensor, "_keras_mask", None) for tensor in _symbolic((args, kwargs))}
            outputs = plain(layer, *args, **kwargs)
            flat = tuple(keras.tree.flatten(outputs))
            masks = {key: mask for key, mask in attached.items() if mask is not None}
            self._calls[id(flat[0])] = Step(layer, args, kwargs, flat, masks)
            return outputs

        keras.Layer.symbolic_call = symbolic_call
        try:
            yield
        finally:
            keras.Layer.symbolic_call = plain
            for part, calls, readers in lengths:
                del part._inbound_nodes[calls:]
                del part._outbound_nodes[readers:]

    def steps(self, results: Any) -> list[Step]:
        """Return what computes some symbolic tensors, each step after those that it reads."""
        order: list[Step] = []
        seen: set[int] = set()
        pending = [(tensor, False) for tensor in reversed(_symbolic(results))]
        while pending:  # without recursion: models are deeper than Python's stack
            tensor, ready = pending.pop()
            node = _producer(tensor)
            if node is None or id(node) in seen:
                continue
            step = self._step(node)
            if ready:
                seen.add(id(node))
                order.append(step)
            else:
                pending.append((tensor, True))
                pending += [(source, False) for source in reversed(step.reads)]
        return order

    def _step(self, node: Any) -> Step:
        noted = self._calls.get(id(node.output_tensors[0]))
        if noted is not None:
            return noted
        return Step(node.operation, node.arguments.args, node.arguments.kwargs, tuple(node.output_tensors))


@contextlib.contextmanager
def variables_replaced(layer: Any, function: Callable[[Any], Any]) -> Iterator[None]:
    """Put something else in the place of the variables that a layer holds itself, in lists and dictionaries too."""
    held = vars(layer) if isinstance(layer, keras.Layer) else {}
    before = {name: value for name, value in held.items() if name not in _BOOKS and _holds_variables(value)}
    held.update({name: keras.tree.map_structure(function, value) for name, value in before.items()})
    try:
        yield
    finally:
        held.update(before)


def _holds_variables(value: Any) -> bool:
    if isinstance(value, keras.Variable):
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(isinstance(part, keras.Variable) for part in parts)


def _symbolic(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def _producer(tensor: Any) -> Any:
    """Return the node that computes a symbolic tensor, None for one that nobody computes."""
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    return history.operation._inbound_nodes[history.node_index]


def _parts(operation: Any) -> Iterator[Any]:
    yield operation
    below = operation._flatten_layers(include_self=False) if isinstance(operation, keras.Layer) else []
    for part in below:
        yield from (part, *getattr(part, "operations", ()))
    yield from getattr(operation, "operations", ())
