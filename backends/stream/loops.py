"""The loops of a program as a tree of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.fault import StreamFault
from flexc.backends.stream.isa import LOOP_LEVELS, Opcode


@dataclass
class Loop:
    """``count`` iterations of a body; ``record`` is the index of the loop record."""

    record: int
    count: int
    body: list[Node] = field(default_factory=list)


Node: TypeAlias = int | Loop


def loop_tree(records: NDArray[Any]) -> list[Node]:
    """The program without its final halt: indices of records, and loops.

    Raises StreamFault unless loops nest, at most ``LOOP_LEVELS`` deep, and one halt ends the program.
    """
    top: list[Node] = []
    bodies = [top]
    opcodes = records["opcode"]
    if not len(opcodes) or opcodes[-1] != Opcode.HALT:
        raise StreamFault("the program does not end with halt")
    control = np.flatnonzero(np.isin(opcodes, (Opcode.HALT, Opcode.LOOP, Opcode.END))).tolist()
    done = 0
    for index, opcode, count in zip(
        control, opcodes[control].tolist(), records["count"][control].tolist(), strict=True
    ):
        bodies[-1].extend(range(done, index))
        done = index + 1
        if opcode == Opcode.LOOP:
            if len(bodies) > LOOP_LEVELS:
                raise StreamFault(f"more than {LOOP_LEVELS} nested loops", record=index, opcode="loop")
            if count < 1:
                raise StreamFault("a loop of no iterations", record=index, opcode="loop")
            loop = Loop(index, count)
            bodies[-1].append(loop)
            bodies.append(loop.body)
        elif opcode == Opcode.END:
            if len(bodies) == 1:
                raise StreamFault("end without a loop", record=index, opcode="end")
            bodies.pop()
        elif done < len(opcodes):
            raise StreamFault("halt before the end of the program", record=index, opcode="halt")
    if len(bodies) > 1:
        raise StreamFault("a loop without its end", record=len(opcodes) - 1, opcode="halt")
    return top


def trips_of_records(nodes: list[Node], trips: tuple[int, ...] = ()) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(record index, trip counts of the loops around it from the outermost on)."""
    for node in nodes:
        if isinstance(node, Loop):
            yield from trips_of_records(node.body, (*trips, node.count))
        else:
            yield node, trips


def trips_by_level(records: NDArray[Any]) -> NDArray[np.int64]:
    """Trip counts [records, LOOP_LEVELS] of the loops around each record, 1 where there is none.

    ``records`` are those of a program whose loops nest (see ``loop_tree``).
    """
    trips = np.ones((len(records), LOOP_LEVELS), np.int64)
    opcodes = records["opcode"]
    index = np.flatnonzero((opcodes == Opcode.LOOP) | (opcodes == Opcode.END))
    opens, counts = (opcodes[index] == Opcode.LOOP).tolist(), records["count"][index].tolist()
    opened: list[tuple[int, int]] = []
    for record, is_open, count in zip(index.tolist(), opens, counts, strict=True):
        if is_open:
            opened.append((record, count))
        else:
            loop, count = opened.pop()
            trips[loop + 1 : record, len(opened)] = count
    return trips
