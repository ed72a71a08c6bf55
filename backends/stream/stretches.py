"""A program made ready to be timed: stretches of records that take time, with the loops between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from itertools import pairwise, repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import NO_SLOT, Opcode
from flexc.backends.stream.loops import LoopRange
from flexc.backends.stream.operand_roles import IS_WRITTEN
from flexc.backends.stream.program import Stream
from flexc.backends.stream.slot_rings import Move, Ring, SlotRings, move_to_next
from flexc.backends.stream.timed_records import TimedRecords
from flexc.backends.stream.timeline import Observer

Step: TypeAlias = tuple[int, int, Iterator[int], Iterator[int], list[Ring], list[Ring]]
"""A record with an engine: its index, the engine's place in ``ENGINES``, cycles and bytes moved of one
execution after the other, and the rings that it reads and writes."""


class Stretch(NamedTuple):
    """A part of a program: slots that move on, then steps, then a loop of ``times`` iterations."""

    moves: list[Move]
    steps: list[Step]
    times: int
    inside: list[Stretch]


class Stretches:
    """The stretches of a program, with the rings that its registers stand for.

    ``loops`` are those of its records, which mean something (see ``verify``). Where there is an observer, it
    is told of every slot and next record as it is executed.
    """

    def __init__(
        self, stream: Stream, loops: list[LoopRange], timed: TimedRecords, observe: Observer | None
    ) -> None:
        rings = SlotRings(stream.records, stream.machine.cores)
        self._timed: list[int] = timed.index.tolist()
        self._steps = _steps(stream.records, timed, rings, observed=observe is not None)
        self._moves = _moves(stream.records, rings, observe)
        self._trips = {loop.first: loop.trips for loop in loops}
        self._control = sorted([*self._moves, *self._trips, *(loop.last for loop in loops)])
        self._steps_before: list[int] = np.searchsorted(timed.index, self._control).tolist()

    def between(self, first: int, end: int) -> list[Stretch]:
        """Those of the records from the first up to, not including, the end, neither of them in a loop."""
        found: list[Stretch] = []
        around: list[list[Stretch]] = []
        moves: list[Move] = []
        done = bisect_left(self._timed, first)
        for place in range(bisect_left(self._control, first), bisect_left(self._control, end)):
            record = self._control[place]
            steps = self._steps[done : self._steps_before[place]]
            done = self._steps_before[place]
            move = self._moves.get(record)
            if move is not None:
                if steps:
                    found.append(Stretch(moves, steps, 0, []))
                    moves = []
                moves.append(move)
            elif record in self._trips:
                inside: list[Stretch] = []
                found.append(Stretch(moves, steps, self._trips[record], inside))
                around.append(found)
                found, moves = inside, []
            else:
                found.append(Stretch(moves, steps, 0, []))
                found, moves = around.pop(), []
        found.append(Stretch(moves, self._steps[done : bisect_left(self._timed, end)], 0, []))
        return found


def _steps(records: NDArray[Any], timed: TimedRecords, rings: SlotRings, *, observed: bool) -> list[Step]:
    """The steps of all records with an engine; bytes moved are given to an observer alone."""
    index = timed.index
    registers = records["operand"]["slot"][index]
    present = registers != NO_SLOT
    written = IS_WRITTEN[records["opcode"][index]]
    operands = []
    for used in (present & ~written, present & written):
        step, place = np.nonzero(used)
        flat = rings.used(registers[step, place], index[step])
        bounds = np.searchsorted(step, np.arange(len(index) + 1)).tolist()
        operands.append([flat[low:high] for low, high in pairwise(bounds)])
    moved_bytes = timed.bytes_in_order() if observed else repeat(repeat(0))
    columns = (index.tolist(), timed.engine.tolist(), timed.cycles_in_order(), moved_bytes, *operands)
    return list(zip(*columns, strict=False))


def _moves(records: NDArray[Any], rings: SlotRings, observe: Observer | None) -> dict[int, Move]:
    """What slot and next records do, by index; without an observer, of those that do something."""
    following = np.flatnonzero(records["opcode"] == Opcode.NEXT)
    moves = dict(zip(rings.declared, rings.starts, strict=True))
    used = rings.used(records["slot"][following], following)
    moves.update(zip(following.tolist(), map(move_to_next, used), strict=True))
    if observe is None:
        return {record: move for record, move in moves.items() if move is not None}
    return {record: partial(_observed, observe, record, move) for record, move in moves.items()}


def _observed(observe: Observer, record: int, move: Move | None) -> None:
    observe(record, "control", 0, 0, 0)
    if move is not None:
        move()
