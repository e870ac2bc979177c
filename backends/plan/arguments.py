"""The tensor arguments of operators, by position."""

from torch.fx import Node


def tensor_arguments(node: Node) -> list[tuple[int, Node]]:
    """Return the tensor arguments of a node by position; those of lists count on from the list's position."""
    found: list[tuple[int, Node]] = []
    for position, argument in enumerate(node.args):
        if isinstance(argument, Node):
            found.append((position, argument))
        elif isinstance(argument, list | tuple):
            found.extend((position + index, item) for index, item in enumerate(argument) if isinstance(item, Node))
    return found
