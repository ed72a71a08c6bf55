"""The timing simulation: when each record of a stream runs on its engine.

Event-driven: a record starts once its engine has done the records before it, what it reads has been written,
and what it writes over is no longer needed. Dependencies are between buffers of slots: a buffer that ``next``
makes current again waits for the last use of its previous content; memory that a new slot takes over waits
for the slots it ends; DRAM is as coarse as its slots. Control takes no time.

What does not depend on times is worked out before, for all records at once: what their executions cost, and
which buffers they use. What is left to do one execution after the other is to compare times.
``timing_reference`` does all of it record by record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from flexc.backends.stream.collection import without_collection
from flexc.backends.stream.isa import ENGINES
from flexc.backends.stream.loops import LoopRange, loop_ranges
from flexc.backends.stream.program import GroupRange, Stream
from flexc.backends.stream.record_kinds import record_kinds
from flexc.backends.stream.stretches import Stretch, Stretches
from flexc.backends.stream.timed_records import TimedRecords, Work
from flexc.backends.stream.timeline import EngineUse, GroupTiming, Observer, Timeline
from flexc.backends.stream.verify import verify_kinds
from flexc.target.machine import Target


class _Engines:
    """When each of ``ENGINES`` is free, and when it first ran since ``first`` was last set."""

    def __init__(self, observe: Observer | None) -> None:
        self.free = [0] * len(ENGINES)
        self.first = [-1] * len(ENGINES)
        self._observe = observe

    def run(self, stretches: list[Stretch], count: int) -> None:
        """Execute stretches ``count`` times."""
        free, first, observe = self.free, self.first, self._observe
        for _ in range(count):
            for moves, steps, inner_count, inside in stretches:
                for move in moves:
                    move()
                for record, engine, cycles, moved_bytes, reads, writes in steps:
                    start = free[engine]
                    for ring in reads:
                        readable = ring[0][0]
                        if readable > start:
                            start = readable
                    for ring in writes:
                        writable = ring[0][1]
                        if writable > start:
                            start = writable
                    free[engine] = end = start + next(cycles)
                    for ring in reads:
                        times = ring[0]
                        if times[1] < end:
                            times[1] = end
                    for ring in writes:
                        times = ring[0]
                        times[0] = times[1] = end
                    if first[engine] < 0:
                        first[engine] = start
                    if observe is not None:
                        observe(record, ENGINES[engine], start, end, next(moved_bytes))
                if inside:
                    self.run(inside, inner_count)


def simulate(stream: Stream, target: Target, observe: Observer | None = None) -> Timeline:
    """Run a stream on a machine's clock; ``observe`` is told of every record that is executed.

    Raises StreamFault for records that mean nothing (see ``verify``). Memory is not modelled: what the
    functional simulator would refuse for its content is not seen here.
    """
    with without_collection():
        loops = loop_ranges(stream.records)
        kinds = record_kinds(stream.records, loops)
        verify_kinds(kinds, stream.machine.cores)
        return _timeline(stream, loops, TimedRecords(kinds, target), observe)


def _timeline(
    stream: Stream, loops: list[LoopRange], timed: TimedRecords, observe: Observer | None
) -> Timeline:
    """What happens when the ``timed`` records of a stream are run."""
    stretches = Stretches(stream, loops, timed, observe)
    engines = _Engines(observe)
    records = len(stream.records)
    ranges = _ranges_of_groups(stream.groups, loops)
    work, *work_of_groups = timed.work([(0, records), *ranges])
    position = 0
    groups = []
    for group, (first, end), of_group in zip(stream.groups, ranges, work_of_groups, strict=True):
        engines.run(stretches.between(position, first), 1)
        engines.first = [-1] * len(ENGINES)
        engines.run(stretches.between(first, end), 1)
        groups.append(_group_timing(group, engines, of_group))
        position = end
    engines.run(stretches.between(position, records), 1)
    moved = timed.moved_bytes.tolist()
    return Timeline(
        max(engines.free),
        dict(zip(ENGINES, work.busy, strict=True)),
        tuple(groups),
        work.macs,
        work.read_bytes,
        work.written_bytes,
        work.executions,
        {index: of_record for index, of_record in zip(timed.index.tolist(), moved, strict=True) if of_record},
    )


def _ranges_of_groups(groups: Sequence[GroupRange], loops: list[LoopRange]) -> list[tuple[int, int]]:
    """The records of each group: those outside of loops, and loops that begin, from its first to its end.

    A record is in one group only.
    """
    outermost = [loop for loop in loops if loop.level == 0]
    starts = [loop.first for loop in outermost]

    def outside(record: int) -> int:
        """The record, or the one after the loop that it is in."""
        place = bisect_left(starts, record) - 1
        return record if place < 0 else max(record, outermost[place].last + 1)

    found = []
    position = 0
    for group in groups:
        first = max(position, outside(group.first_record))
        position = max(first, outside(group.end_record))
        found.append((first, position))
    return found


def _group_timing(group: GroupRange, engines: _Engines, work: Work) -> GroupTiming:
    """The timing of a group that has just run."""
    uses = {
        name: EngineUse(first, free, busy, lanes)
        for name, first, free, busy, lanes in zip(
            ENGINES, engines.first, engines.free, work.busy, work.lane_cycles, strict=True
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
