"""The nodes of a graph in an order in which they can be worked out."""

import heapq

import onnx

from prunus.errors import ImportModelError


def captures(node: onnx.NodeProto) -> list[str]:
    """Return the names that branches and bodies of `node` read from the graphs around them."""
    names: dict[str, None] = {}
    for graph in subgraphs(node):
        own = {value.name for value in (*graph.input, *graph.initializer)}
        own.update(name for inner in graph.node for name in inner.output)
        read = [name for inner in graph.node for name in (*inner.input, *captures(inner))]
        read.extend(output.name for output in graph.output)
        names.update(dict.fromkeys(name for name in read if name and name not in own))
    return list(names)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs among the attributes of `node`."""
    found = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    return found + [graph for attribute in node.attribute for graph in attribute.graphs]


def needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that the outputs depend on, in the order of the file."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    wanted, marked = [output.name for output in graph.output], set()
    while wanted:
        index = producers.get(wanted.pop())
        if index is not None and index not in marked:
            marked.add(index)
            wanted.extend((*graph.node[index].input, *captures(graph.node[index])))
    return [graph.node[index] for index in sorted(marked)]


def in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the needed nodes, producers first, else in the order of the file.

    Raises:
        ImportModelError: two nodes write one name, or nodes wait for each other.
    """
    _check_written_once(graph)
    nodes = needed(graph)
    producers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    readers: list[set[int]] = [set() for _ in nodes]
    waits = [0] * len(nodes)
    for index, node in enumerate(nodes):
        for producer in {producers[name] for name in (*node.input, *captures(node)) if name and name in producers}:
            readers[producer].add(index)
            waits[index] += 1
    ready = [index for index, count in enumerate(waits) if count == 0]
    ordered = []
    while ready:
        index = heapq.heappop(ready)
        ordered.append(nodes[index])
        for reader in readers[index]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(ordered) < len(nodes):
        stuck = [node.name or node.output[0] for index, node in enumerate(nodes) if waits[index]]
        raise ImportModelError(
            f"the graph has a cycle through or before {', '.join(map(repr, stuck[:5]))}"
            + (f" and {len(stuck) - 5} more" if len(stuck) > 5 else ""),
            expected="a graph without cycles", do="check the file with onnx.checker.check_model",
        )  # fmt: skip
    return ordered


def _check_written_once(graph: onnx.GraphProto) -> None:
    written = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        for name in filter(None, node.output):
            if name in written:
                raise ImportModelError(
                    f"{name!r} is written more than once, the last time by {node.op_type} node {node.name!r}",
                    expected="one producer for each name", do="check the file with onnx.checker.check_model",
                )  # fmt: skip
            written.add(name)
