"""Constants on their way into the graph: each is stored once, under the name that its model gives it."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Node

from prunus.passes.graph import Graph, get_constant, set_constant

_Key = tuple[int, torch.dtype, tuple[int, ...], tuple[int, ...]]


class Constants:
    """Gives constants their `get_attr` nodes.

    A tensor is known by its memory, shape and strides. So a table that is read by `Gather` and, transposed, by `MatMul`
    stays one parameter: the transposition back is the same view of the same memory.
    """

    def __init__(self, graph: Graph, mode: FakeTensorMode) -> None:
        self._graph, self._mode = graph, mode
        self._nodes: dict[_Key, Node] = {}
        self._names: dict[int, str] = {}
        self._alive: list[torch.Tensor] = []
        self._trainable: set[int] = set()
        self._stored: set[int] = set()
        self._leaves: set[str] = set()
        self._owners: set[str] = set()

    def remember(self, tensor: torch.Tensor, name: str, *, trainable: bool = False) -> None:
        """Note the name of a tensor, empty where it has none that says something; the first one of a memory stays.

        Args:
            trainable: make it a parameter whoever reads it.
        """
        if trainable and tensor.numel():
            self._trainable.add(tensor.data_ptr())
        if tensor.numel() and tensor.data_ptr() not in self._names:
            self._names[tensor.data_ptr()] = name
            self._alive.append(tensor)

    def node(self, tensor: torch.Tensor, *, parameter: bool = False, name: str = "constant") -> Node:
        """Return the node that reads `tensor`, as a trainable parameter where `parameter` asks for it.

        Args:
            name: used where no name is known for it.
        """
        key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        node = self._nodes.get(key)
        if node is None:
            free = self._free(self._names.get(tensor.data_ptr()) or name)
            set_constant(self._graph, free, self._own(tensor))
            node = self._nodes[key] = self._graph.graph.get_attr(free)
            with self._mode:
                node.meta["val"] = torch.empty(tensor.shape, dtype=tensor.dtype)
            self._alive.append(tensor)
        stored = get_constant(self._graph, node)
        wanted = parameter or tensor.data_ptr() in self._trainable
        if wanted and tensor.is_floating_point() and not isinstance(stored, torch.nn.Parameter):
            assert stored is not None
            set_constant(self._graph, str(node.target), torch.nn.Parameter(stored))
        return node

    def _own(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return `tensor` in memory that no other constant of the graph has."""
        storage = tensor.untyped_storage()
        whole = storage.nbytes() == tensor.numel() * tensor.element_size() and tensor.is_contiguous()
        if whole and storage.data_ptr() not in self._stored:
            self._stored.add(storage.data_ptr())
            return tensor.detach()
        return tensor.detach().clone(memory_format=torch.contiguous_format)

    def _free(self, name: str) -> str:
        """Return `name`, numbered where it is taken, and flat where a tensor stands in its path."""
        name = name if self._leaves.isdisjoint(_above(name)) else name.replace(".", "_")
        candidate, count = name, 1
        while candidate in self._leaves or candidate in self._owners:
            candidate, count = f"{name}_{count}", count + 1
        self._leaves.add(candidate)
        self._owners.update(_above(candidate))
        return candidate


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
