"""The timing simulation: when each record of a stream runs on its engine.

Event-driven: a record starts once its engine has done the records before it, what it reads has been written,
and what it writes over is no longer needed. Dependencies are between buffers of slots: a buffer that ``next``
makes current again waits for the last use of its previous content; memory that a new slot takes over waits
for the slots it ends; DRAM is as coarse as its slots. Control takes no time.

Costs are worked out for all executions at once, before; what is left to do one execution after the other is
to look up and to compare times. ``timing_reference`` does the same record by record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np

from flexc.backends.stream.collection import without_collection
from flexc.backends.stream.decode import OPCODE_OF_CODE
from flexc.backends.stream.isa import ENGINES, NO_SLOT, OPCODES, Opcode, Space
from flexc.backends.stream.loops import Loop, Node, loop_tree
from flexc.backends.stream.program import GroupRange, Stream
from flexc.backends.stream.slot_rings import Memory, Ring, Times
from flexc.backends.stream.timed_records import TimedRecords, Work
from flexc.backends.stream.timeline import EngineUse, GroupTiming, Observer, Timeline
from flexc.backends.stream.verify import verify
from flexc.target.machine import Target

WRITTEN = {
    Opcode.LOAD: ("dst",),
    Opcode.GATHER: ("dst",),
    Opcode.STORE: ("dst",),
    Opcode.COMPUTE: ("acc",),
    Opcode.CONVERT: ("mantissa", "exponent"),
    Opcode.VECTOR: ("dst",),
    Opcode.NORM: ("dst",),
    Opcode.STATISTICS: ("state",),
    Opcode.SUMMARIZE: ("mean", "range", "scale", "gamma_q"),
    Opcode.NARROW: ("dst",),
    Opcode.CONSTANTS: ("mean", "scale", "gamma_q"),
    Opcode.EXTREMA: ("dst",),
    Opcode.SCATTER: ("dst",),
}
"""Operands that a record writes; it reads the others."""
IS_WRITTEN = {
    opcode: tuple(name in WRITTEN[opcode] for name in OPCODES[opcode].operands) for opcode in WRITTEN
}
"""Whether a record writes each of its operands."""


class _Step(NamedTuple):
    """A record with an engine: the cycles and bytes of its executions, and the buffers that they use."""

    record: int
    engine: int
    cycles: Iterator[int]
    moved_bytes: Iterator[int]
    reads: tuple[Times, ...]
    writes: tuple[Times, ...]


class _Stretch(NamedTuple):
    """A part of a loop's body: rings that move on, then steps, then a loop inside.

    Rings come with the index of the record that moves them. ``times`` are those of the loop inside.
    """

    rings: list[tuple[int, Ring]]
    steps: list[_Step]
    times: int
    inside: list[_Stretch]


class _Simulation:
    """The state of the machine: when engines are free, and the rings of buffers that registers stand for."""

    def __init__(self, stream: Stream, timed: TimedRecords, observe: Observer | None) -> None:
        records = stream.records
        self.free = [0] * len(ENGINES)
        self.first = [-1] * len(ENGINES)
        """When each engine first ran since this was last set."""
        self._observe = observe
        self._cores = stream.machine.cores
        self._rings: dict[int, Ring] = {}
        self._memories = {int(space): Memory() for space in Space}
        self._opcodes: list[int] = records["opcode"].tolist()
        self._registers: list[int] = records["slot"].tolist()
        declared = np.flatnonzero(records["opcode"] == Opcode.SLOT)
        names = ("space", "per_core", "depth", "address_bytes", "size_bytes")
        fields = zip(*(records[name][declared].tolist() for name in names), strict=True)
        self._declarations = dict(zip(declared.tolist(), fields, strict=True))
        steps = zip(
            timed.engine.tolist(),
            timed.cycles_in_order(),
            repeat(repeat(0)) if observe is None else timed.bytes_in_order(),
            records["operand"]["slot"][timed.index].tolist(),
            strict=False,
        )
        self._steps = dict(zip(timed.index.tolist(), steps, strict=True))

    def execute(self, nodes: list[Node]) -> None:
        """Run nodes that stand outside of loops, in the order of the program."""
        for node in nodes:
            if not isinstance(node, Loop) and node in self._declarations:
                if self._observe is not None:
                    self._observe(node, "control", 0, 0, 0)
                self._declare(self._registers[node], *self._declarations[node])
            else:
                self._run(self._stretches([node]), 1)

    def _declare(
        self, register: int, space: int, per_core: int, depth: int, address_bytes: int, size_bytes: int
    ) -> None:
        if space != Space.DRAM and not per_core:
            size_bytes = -(-size_bytes // self._cores)
        ring = self._rings[register] = Ring(depth)
        self._memories[space].declare(ring, address_bytes, size_bytes)

    def _stretches(self, nodes: list[Node]) -> list[_Stretch]:
        """What nodes do, with the rings that registers stand for now: no slot is declared in a loop."""
        found = [_Stretch([], [], 0, [])]
        for node in nodes:
            rings, steps, *_ = found[-1]
            if isinstance(node, Loop):
                found[-1] = _Stretch(rings, steps, node.count, self._stretches(node.body))
                found.append(_Stretch([], [], 0, []))
            elif node in self._steps:
                steps.append(self._step(node, *self._steps[node]))
            else:
                ring = self._ring(self._registers[node])
                if ring.depth > 1 or self._observe is not None:
                    if steps:
                        rings = []
                        found.append(_Stretch(rings, [], 0, []))
                    rings.append((node, ring))
        return found

    def _ring(self, register: int) -> Ring:
        """The ring that a register stands for; one that holds nothing where none is declared."""
        ring = self._rings.get(register)
        if ring is None:
            ring = self._rings[register] = Ring(1)
        return ring

    def _step(
        self,
        record: int,
        engine: int,
        cycles: Iterator[int],
        moved_bytes: Iterator[int],
        registers: list[int],
    ) -> _Step:
        reads: list[Times] = []
        writes: list[Times] = []
        written = IS_WRITTEN[OPCODE_OF_CODE[self._opcodes[record]]]
        for register, is_written in zip(registers, written, strict=False):
            if register != NO_SLOT:
                (writes if is_written else reads).append(self._ring(register).current)
        return _Step(record, engine, cycles, moved_bytes, tuple(reads), tuple(writes))

    def _run(self, stretches: list[_Stretch], count: int) -> None:
        """Execute stretches ``count`` times."""
        free, first, observe = self.free, self.first, self._observe
        for _ in range(count):
            for rings, steps, inner_count, inside in stretches:
                for record, ring in rings:
                    if observe is not None:
                        observe(record, "control", 0, 0, 0)
                    ring.next()
                for record, engine, cycles, moved_bytes, reads, writes in steps:
                    start = free[engine]
                    for times in reads:
                        if times[0] > start:
                            start = times[0]
                    for times in writes:
                        if times[1] > start:
                            start = times[1]
                    free[engine] = end = start + next(cycles)
                    for times in reads:
                        if times[1] < end:
                            times[1] = end
                    for times in writes:
                        times[0] = times[1] = end
                    if first[engine] < 0:
                        first[engine] = start
                    if observe is not None:
                        observe(record, ENGINES[engine], start, end, next(moved_bytes))
                if inside:
                    self._run(inside, inner_count)


def simulate(stream: Stream, target: Target, observe: Observer | None = None) -> Timeline:
    """Run a stream on a machine's clock; ``observe`` is told of every record that is executed.

    Raises StreamFault for records that mean nothing (see ``verify``). Memory is not modelled: what the
    functional simulator would refuse for its content is not seen here.
    """
    with without_collection():
        tree = loop_tree(stream.records)
        verify(stream.records, stream.machine.cores)
        return _timeline(stream, tree, TimedRecords(stream, target), observe)


def _timeline(stream: Stream, tree: list[Node], timed: TimedRecords, observe: Observer | None) -> Timeline:
    simulation = _Simulation(stream, timed, observe)
    indices = [node.record if isinstance(node, Loop) else node for node in tree]
    indices.append(len(stream.records))
    position = 0
    groups = []
    for group in stream.groups:
        first = bisect_left(indices, group.first_record, position)
        end = bisect_left(indices, group.end_record, first)
        simulation.execute(tree[position:first])
        simulation.first = [-1] * len(ENGINES)
        simulation.execute(tree[first:end])
        groups.append(_group_timing(group, simulation, timed.work(indices[first], indices[end])))
        position = end
    simulation.execute(tree[position:])
    work = timed.work(0, len(stream.records))
    moved = timed.moved_bytes.tolist()
    return Timeline(
        max(simulation.free),
        dict(zip(ENGINES, work.busy, strict=True)),
        tuple(groups),
        work.macs,
        work.read_bytes,
        work.written_bytes,
        work.executions,
        {index: of_record for index, of_record in zip(timed.index.tolist(), moved, strict=True) if of_record},
    )


def _group_timing(group: GroupRange, simulation: _Simulation, work: Work) -> GroupTiming:
    """The timing of a group that has just run."""
    uses = {
        name: EngineUse(first, free, busy, lanes)
        for name, first, free, busy, lanes in zip(
            ENGINES, simulation.first, simulation.free, work.busy, work.lane_cycles, strict=True
        )
        if first >= 0
    }
    return GroupTiming(
        group.index,
        group.label,
        min((use.start for use in uses.values()), default=0),
        max((use.end for use in uses.values()), default=0),
        uses,
        work.macs,
        work.read_bytes,
        work.written_bytes,
        work.executions,
    )
