"""What a student has in common with its teacher: what layers compute, on the channels that are left."""

from dataclasses import dataclass

from torch import Tensor, from_numpy
from torch.fx import Node

from prunus.passes.graph import Graph, aten, calls, copy_graph, is_op, only_user, outputs, shape, tidy
from prunus.passes.layers import LAYERS
from prunus.passes.remove_dropout import remove_dropout

SURVIVORS = "survivors"
"""Key of `graph.meta` under which pruning says what is left of each value: by node, result and dimension one bool for
each index that the graph had before."""


@dataclass(frozen=True)
class Feature:
    """A value that both graphs compute.

    Attributes:
        name: of the node, in both graphs.
        kept: for each dimension the indices of the teacher's value that the student has; None for all.
    """

    name: str
    kept: tuple[Tensor | None, ...]

    def select(self, value: Tensor) -> Tensor:
        """Return the part of the teacher's value that the student has."""
        for dim, index in enumerate(self.kept):
            if index is not None:
                value = value.index_select(dim, index)
        return value


def common_features(student: Graph, teacher: Graph) -> list[Feature]:
    """Return what layers compute inside both graphs, behind their batch norms, in the order of the graph."""
    survivors = student.meta.get(SURVIVORS, {})
    theirs = {node.name: node for node in calls(teacher)}
    found = []
    for layer in calls(student, *LAYERS):
        node = _behind_batch_norm(layer)
        twin = theirs.get(node.name)
        if twin is None or twin.target != node.target or node in outputs(student):
            continue
        masks = survivors[node.name][0] if node.name in survivors else (None,) * len(shape(node))
        kept = tuple(None if mask is None or mask.all() else from_numpy(mask.nonzero()[0]) for mask in masks)
        feature = Feature(node.name, kept)
        if _fits(feature, shape(node), shape(twin), masks):
            found.append(feature)
    return found


def exposed(graph: Graph, features: list[Feature]) -> Graph:
    """Return a copy without dropout, of the same tensors, that returns the features behind its own results."""
    copy = remove_dropout(copy_graph(graph))
    nodes = {node.name: node for node in copy.graph.nodes}
    (last,) = (node for node in copy.graph.nodes if node.op == "output")
    last.args = ((*outputs(copy), *(nodes[feature.name] for feature in features)),)
    return tidy(copy)


def _behind_batch_norm(layer: Node) -> Node:
    user = only_user(layer)
    return user if user is not None and is_op(user, aten.batch_norm.default) else layer


def _fits(feature: Feature, ours: tuple[int, ...], theirs: tuple[int, ...], masks: tuple[object, ...]) -> bool:
    """Tell whether the teacher is the graph that the masks are of: a student may be pruned twice."""
    sizes = [size if index is None else len(index) for size, index in zip(theirs, feature.kept, strict=True)]
    lengths = [size if mask is None else len(mask) for size, mask in zip(theirs, masks, strict=True)]  # type: ignore[arg-type]
    return tuple(sizes) == ours and tuple(lengths) == theirs
