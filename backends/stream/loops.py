"""The loops of a program: where each begins and ends, and the program as a tree of blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import LOOP_LEVELS, Opcode


class LoopRange(NamedTuple):
    """``trips`` iterations of what is between records ``first`` and ``last``, a loop and its end.

    ``level`` counts the loops around it.
    """

    first: int
    trips: int
    level: int
    last: int


@dataclass
class Loop:
    """``count`` iterations of a body; ``record`` is the index of the loop record."""

    record: int
    count: int
    body: list[Node]


Node: TypeAlias = int | Loop


def loop_ranges(records: NDArray[Any]) -> list[LoopRange]:
    """The loops of a program, in the order of their first records.

    Raises StreamFault unless loops nest, at most ``LOOP_LEVELS`` deep, and one halt ends the program.
    """
    opcodes = records["opcode"]
    if not len(opcodes) or opcodes[-1] != Opcode.HALT:
        raise StreamFault("the program does not end with halt")
    control = np.flatnonzero((opcodes == Opcode.LOOP) | (opcodes == Opcode.END) | (opcodes == Opcode.HALT))
    found: list[tuple[int, int, int]] = []
    last: list[int] = []
    opened: list[int] = []
    for index, opcode, count in zip(
        control.tolist(), opcodes[control].tolist(), records["count"][control].tolist(), strict=True
    ):
        if opcode == Opcode.LOOP:
            if len(opened) == LOOP_LEVELS:
                raise StreamFault(f"more than {LOOP_LEVELS} nested loops", record=index, opcode="loop")
            if count < 1:
                raise StreamFault("a loop of no iterations", record=index, opcode="loop")
            found.append((index, count, len(opened)))
            opened.append(len(last))
            last.append(index)
        elif opcode == Opcode.END:
            if not opened:
                raise StreamFault("end without a loop", record=index, opcode="end")
            last[opened.pop()] = index
        elif index < len(opcodes) - 1:
            raise StreamFault("halt before the end of the program", record=index, opcode="halt")
    if opened:
        raise StreamFault("a loop without its end", record=len(opcodes) - 1, opcode="halt")
    return [LoopRange(*loop, end) for loop, end in zip(found, last, strict=True)]


def loop_tree(records: NDArray[Any]) -> list[Node]:
    """The program without its final halt: indices of records, and loops.

    Raises StreamFault as ``loop_ranges``.
    """
    return _nodes(0, len(records) - 1, deque(loop_ranges(records)))


def _nodes(first: int, end: int, loops: deque[LoopRange]) -> list[Node]:
    """The records from the first up to, not including, the end, with those of ``loops`` that are there."""
    nodes: list[Node] = []
    while loops and loops[0].first < end:
        loop = loops.popleft()
        nodes.extend(range(first, loop.first))
        nodes.append(Loop(loop.first, loop.trips, _nodes(loop.first + 1, loop.last, loops)))
        first = loop.last + 1
    nodes.extend(range(first, end))
    return nodes


def trips_of_records(nodes: list[Node], trips: tuple[int, ...] = ()) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(record index, trip counts of the loops around it from the outermost on)."""
    for node in nodes:
        if isinstance(node, Loop):
            yield from trips_of_records(node.body, (*trips, node.count))
        else:
            yield node, trips


def trips_by_level(loops: list[LoopRange], records: int) -> NDArray[np.int64]:
    """Trip counts [records, LOOP_LEVELS] of the loops around each record, 0 where there is none."""
    trips = np.zeros((records, LOOP_LEVELS), np.int64)
    for loop in loops:
        trips[loop.first + 1 : loop.last, loop.level] = loop.trips
    return trips
