"""What a timing simulation did, record by record: when each engine ran, and how full the buffers were.

A buffer of a slot is full from the start of the first record that writes it to the end of the last one that
uses it, until ``next`` or a new slot makes it hold nothing. Sizes are those of one core; a slot that is
striped over the cores takes its share of each.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import ENGINES, NO_SLOT, OPCODES, Engine, Opcode, Space
from flexc.backends.stream.operand_roles import WRITTEN
from flexc.backends.stream.program import Stream
from flexc.backends.stream.timeline import Timeline
from flexc.backends.stream.timing import simulate
from flexc.target.machine import Target

Integers: TypeAlias = NDArray[np.int64]
ON_CHIP = (Space.OPERAND, Space.HELD, Space.PSUM)


@dataclass(frozen=True)
class Executions:
    """The executions of one engine's records, in order: record, first and last cycle, bytes of DRAM moved."""

    record: Integers
    start: Integers
    end: Integers
    moved_bytes: Integers


@dataclass(frozen=True)
class Holdings:
    """Stretches in which buffers of one memory hold something: first cycle, last cycle, bytes of a core."""

    start: Integers
    end: Integers
    size_bytes: Integers


@dataclass(frozen=True)
class Activity:
    """A simulated program: its timeline, executions by engine, holdings by memory on chip."""

    timeline: Timeline
    executions: dict[Engine, Executions]
    holdings: dict[Space, Holdings]


def activity_of(stream: Stream, target: Target) -> Activity:
    """Simulates a stream and records what every engine and buffer does.

    Takes memory in proportion to the records executed. Raises StreamFault for records that mean nothing.
    """
    recorder = _Recorder(stream)
    timeline = simulate(stream, target, recorder)
    recorder.close_all()
    return Activity(
        timeline,
        {engine: Executions(*map(_integers, columns)) for engine, columns in recorder.executions.items()},
        {space: Holdings(*map(_integers, columns)) for space, columns in recorder.holdings.items()},
    )


def _integers(column: array[int]) -> Integers:
    return np.frombuffer(column, np.int64) if column else np.zeros(0, np.int64)


class _Buffer:
    """A buffer, and from when to when its present content is written and used; nothing while start < 0."""

    __slots__ = ("end", "size_bytes", "space", "start")

    def __init__(self, space: Space, size_bytes: int) -> None:
        self.space = space
        self.size_bytes = size_bytes
        self.start = -1
        self.end = 0


class _Recorder:
    """Follows the slots as the simulation does, from the records that it tells of."""

    def __init__(self, stream: Stream) -> None:
        self.records = stream.records
        self.cores = stream.machine.cores
        self.executions = {engine: tuple(array("q") for _ in range(4)) for engine in ENGINES}
        self.holdings = {space: tuple(array("q") for _ in range(3)) for space in ON_CHIP}
        self.rings: dict[int, list[_Buffer]] = {}
        self.current: dict[int, int] = {}
        self.operands: dict[int, tuple[tuple[int, bool], ...]] = {}

    def __call__(self, record: int, engine: Engine, start: int, end: int, moved_bytes: int) -> None:
        """Takes in one execution."""
        if engine == "control":
            self._control(record)
            return
        for column, value in zip(self.executions[engine], (record, start, end, moved_bytes), strict=True):
            column.append(value)
        if record not in self.operands:
            self.operands[record] = self._operands(record)
        for register, written in self.operands[record]:
            buffer = self.rings[register][self.current[register]]
            if written and buffer.start < 0:
                buffer.start = start
            buffer.end = max(buffer.end, end)

    def close_all(self) -> None:
        """The program has ended."""
        for ring in self.rings.values():
            for buffer in ring:
                self._close(buffer)

    def _control(self, record: int) -> None:
        fields = self.records[record]
        register = int(fields["slot"])
        if Opcode(int(fields["opcode"])) is Opcode.NEXT:
            ring = self.rings[register]
            self.current[register] = (self.current[register] + 1) % len(ring)
            self._close(ring[self.current[register]])
            return
        for buffer in self.rings.get(register, ()):
            self._close(buffer)
        size = int(fields["size_bytes"])
        share = size if fields["per_core"] else -(-size // self.cores)
        space = Space(int(fields["space"]))
        self.rings[register] = [_Buffer(space, share) for _ in range(int(fields["depth"]))]
        self.current[register] = 0

    def _operands(self, record: int) -> tuple[tuple[int, bool], ...]:
        """Registers that a record uses, and whether it writes them."""
        fields = self.records[record]
        opcode = Opcode(int(fields["opcode"]))
        names = OPCODES[opcode].operands
        registers = fields["operand"]["slot"][: len(names)].tolist()
        written = WRITTEN[opcode]
        return tuple((r, name in written) for name, r in zip(names, registers, strict=True) if r != NO_SLOT)

    def _close(self, buffer: _Buffer) -> None:
        if buffer.start >= 0 and buffer.space in self.holdings:
            columns = self.holdings[buffer.space]
            for column, value in zip(columns, (buffer.start, buffer.end, buffer.size_bytes), strict=True):
                column.append(value)
        buffer.start, buffer.end = -1, 0
