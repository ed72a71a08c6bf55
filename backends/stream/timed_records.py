"""The records of a stream that take time: what each execution costs, and all of them together."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, repeat
from operator import sub

import numpy as np

from flexc.backends.stream.box_columns import Integers
from flexc.backends.stream.cost_columns import cost_columns
from flexc.backends.stream.decode import take_records
from flexc.backends.stream.isa import ENGINES, OPCODES
from flexc.backends.stream.loops import trips_by_level
from flexc.backends.stream.program import Stream
from flexc.target.machine import Target

TIMED = [opcode for opcode, spec in OPCODES.items() if spec.engine != "control"]


@dataclass(frozen=True)
class Work:
    """What executions do together; ``busy`` and ``lane_cycles`` are those of each of ``ENGINES``."""

    busy: list[int]
    lane_cycles: list[int]
    macs: int
    read_bytes: int
    written_bytes: int
    executions: int


class TimedRecords:
    """The records of a stream that have an engine."""

    def __init__(self, stream: Stream, target: Target) -> None:
        self.index: Integers = np.flatnonzero(np.isin(stream.records["opcode"], TIMED))
        """Their indices in the stream."""
        self._trips: Integers = trips_by_level(stream.records)[self.index]
        records = take_records(stream.records, self.index)
        self._costs = costs = cost_columns(records, self._trips, target)
        self.engine: Integers = costs.engine
        """Places in ``ENGINES``."""
        self._executions: Integers = self._trips.prod(axis=1)
        self.moved_bytes = self._over_executions(costs.moved_bytes)
        """To or from DRAM, over all executions of each record."""
        engines = self.engine[:, np.newaxis] == np.arange(len(ENGINES))
        columns = [
            *(engines * self._over_executions(costs.cycles)[:, np.newaxis]).T,
            *(engines * self._over_executions(costs.lane_cycles)[:, np.newaxis]).T,
            self._over_executions(costs.macs),
            np.where(engines[:, ENGINES.index("dma_in")], self.moved_bytes, 0),
            np.where(engines[:, ENGINES.index("dma_out")], self.moved_bytes, 0),
            self._executions,
        ]
        work = np.zeros((len(self.index) + 1, len(columns)), np.int64)
        np.cumsum(np.stack(columns, axis=1), axis=0, out=work[1:])
        self._work_before: list[list[int]] = work.tolist()
        self._indices: list[int] = self.index.tolist()

    def _over_executions(self, of_case: Integers) -> Integers:
        if not len(self.index):
            return np.zeros(0, np.int64)
        first = self._costs.first
        # Every case of a record occurs as often as the others.
        return np.asarray(np.add.reduceat(of_case, first[:-1]) * (self._executions // np.diff(first)))

    def work(self, first_record: int, end_record: int) -> Work:
        """What the records of the stream from the first up to, not including, the end do."""
        before, after = (
            self._work_before[bisect_left(self._indices, record)] for record in (first_record, end_record)
        )
        *of_engines, macs, read_bytes, written_bytes, executions = map(sub, after, before)
        busy, lane_cycles = of_engines[: len(ENGINES)], of_engines[len(ENGINES) :]
        return Work(busy, lane_cycles, macs, read_bytes, written_bytes, executions)

    def cycles_in_order(self) -> list[Iterator[int]]:
        """For each record the cycles that its executions take, in their order."""
        return self._in_order(self._costs.cycles)

    def bytes_in_order(self) -> list[Iterator[int]]:
        """For each record the bytes that its executions move, in their order."""
        return self._in_order(self._costs.moved_bytes)

    def _in_order(self, of_case: Integers) -> list[Iterator[int]]:
        values, executions = of_case.tolist(), self._executions.tolist()
        trips = self._trips.tolist()
        shapes = np.where(self._costs.moving, self._trips, 1).tolist()
        found: list[Iterator[int]] = []
        for place, (first, end) in enumerate(pairwise(self._costs.first.tolist())):
            if end - first == 1:
                found.append(repeat(values[first]))
            elif end - first == executions[place]:
                found.append(iter(values[first:end]))
            else:
                by_loop = np.empty(trips[place], np.int64)
                by_loop[...] = of_case[first:end].reshape(shapes[place])
                found.append(iter(by_loop.ravel().tolist()))
        return found
