"""The order in which nodes can be imported; names that are missing, given twice or defined in a circle."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import onnx

from flexc.diagnostics import Place, error
from flexc.importer.problems import Problems


@dataclass(frozen=True)
class Topology:
    """Nodes that the outputs need, by index, each after the nodes it needs itself.

    ``undefined`` names the values that no input, initializer or orderable node defines.
    """

    order: tuple[int, ...]
    undefined: frozenset[str]


def node_place(node: onnx.NodeProto, index: int, file: str) -> Place:
    """Where a message about a node points; a node without a name goes by its first output."""
    named = node.name or next((name for name in node.output if name), "")
    return Place(file, named, node.op_type, index)


def sort_nodes(graph: onnx.GraphProto, file: str, problems: Problems) -> Topology:
    """The topology of a graph; FX108, FX109 and FX110 go to ``problems``."""
    given = _given_names(graph, file, problems)
    producers = _producers(graph, given, file, problems)
    undefined = _undefined(graph, given.union(producers), file, problems)
    order = _order(graph, producers)
    circular = sorted(set(range(len(graph.node))).difference(order))
    if circular:
        _report_cycles(graph, circular, producers, file, problems)
    needed = _needed(graph, producers)
    unordered = {name for index in circular for name in graph.node[index].output if name}
    return Topology(tuple(index for index in order if index in needed), frozenset(undefined | unordered))


def _given_names(graph: onnx.GraphProto, file: str, problems: Problems) -> set[str]:
    inputs = [entry.name for entry in graph.input]
    initializers = [entry.name for entry in graph.initializer]
    _report_duplicates("input", inputs, file, problems)
    _report_duplicates("initializer", initializers, file, problems)
    _report_duplicates("output", [entry.name for entry in graph.output], file, problems)
    return {*inputs, *initializers}


def _report_duplicates(kind: str, names: Sequence[str], file: str, problems: Problems) -> None:
    seen: set[str] = set()
    for name in names:
        with problems.collect():
            if not name:
                raise error("FX108", f"a graph {kind} has no name", place=Place(file))
            if name in seen:
                raise error("FX108", f"two graph {kind}s are named '{name}'", place=Place(file))
        seen.add(name)


def _producers(graph: onnx.GraphProto, given: set[str], file: str, problems: Problems) -> dict[str, int]:
    producers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name not in given and name not in producers:
                producers[name] = index
                continue
            first = producers.get(name)
            other = "an input or initializer" if first is None else f"node {first}"
            with problems.collect():
                raise error(
                    "FX108",
                    f"output '{name}' is already defined by {other}",
                    place=node_place(node, index, file),
                    hint="every value of a graph needs a name of its own",
                )
    return producers


def _undefined(graph: onnx.GraphProto, defined: set[str], file: str, problems: Problems) -> set[str]:
    missing: set[str] = set()
    uses = [
        (name, node_place(node, index, file))
        for index, node in enumerate(graph.node)
        for name in node.input
        if name
    ]
    uses += [(output.name, Place(file)) for output in graph.output if output.name]
    for name, place in uses:
        if name in defined or name in missing:
            continue
        missing.add(name)
        use = "input" if place.node_index is not None else "graph output"
        close = get_close_matches(name, defined, n=1)
        with problems.collect():
            raise error(
                "FX109",
                f"{use} '{name}' is defined nowhere in the model",
                place=place,
                hint=f"did you mean '{close[0]}'?" if close else "",
            )
    return missing


def _predecessors(node: onnx.NodeProto, producers: dict[str, int]) -> set[int]:
    return {producers[name] for name in node.input if name in producers}


def _order(graph: onnx.GraphProto, producers: dict[str, int]) -> list[int]:
    """Indices of all nodes outside and not behind a circle; the file's own order where that is possible."""
    waiting: dict[int, int] = {}
    followers: dict[int, list[int]] = {}
    for index, node in enumerate(graph.node):
        before = _predecessors(node, producers)
        waiting[index] = len(before)
        for each in before:
            followers.setdefault(each, []).append(index)
    ready = [index for index, count in waiting.items() if count == 0]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for follower in followers.get(index, ()):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    return order


def _report_cycles(
    graph: onnx.GraphProto, circular: Sequence[int], producers: dict[str, int], file: str, problems: Problems
) -> None:
    # Imported here: it takes a tenth of a second, and few models have circles.
    import networkx as nx

    edges = nx.DiGraph()
    edges.add_nodes_from(circular)
    for index in circular:
        for before in _predecessors(graph.node[index], producers):
            if before in edges:
                edges.add_edge(before, index)
    for component in sorted(nx.strongly_connected_components(edges), key=min):
        first = min(component)
        if len(component) == 1 and not edges.has_edge(first, first):
            continue
        cycle = [edge[0] for edge in nx.find_cycle(edges.subgraph(component), first)]
        places = [node_place(graph.node[index], index, file) for index in (*cycle, cycle[0])]
        with problems.collect():
            raise error(
                "FX110",
                "depends on its own result",
                place=places[0],
                detail=" -> ".join(f"'{place.node_name}'" for place in places),
                hint="an ONNX graph has no cycles",
            )


def _needed(graph: onnx.GraphProto, producers: dict[str, int]) -> set[int]:
    needed: set[int] = set()
    pending = [producers[output.name] for output in graph.output if output.name in producers]
    while pending:
        index = pending.pop()
        if index not in needed:
            needed.add(index)
            pending.extend(_predecessors(graph.node[index], producers))
    return needed
