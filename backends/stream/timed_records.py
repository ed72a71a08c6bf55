"""The records of a program that take time: what each execution costs, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

from flexc.backends.stream.columns import Integers
from flexc.backends.stream.cost_columns import ENGINE_OF_OPCODE, NO_ENGINE, cost_columns
from flexc.backends.stream.decode import take_records
from flexc.backends.stream.isa import ENGINES
from flexc.backends.stream.record_kinds import RecordKinds
from flexc.target.machine import Target


class Work(NamedTuple):
    """What executions do together; ``busy`` and ``lane_cycles`` are those of each of ``ENGINES``."""

    busy: list[int]
    lane_cycles: list[int]
    macs: int
    read_bytes: int
    written_bytes: int
    executions: int


class TimedRecords:
    """The records of a program that have an engine, from all its kinds of records."""

    def __init__(self, kinds: RecordKinds, target: Target) -> None:
        is_timed = ENGINE_OF_OPCODE[kinds.records["opcode"]] != NO_ENGINE
        self.index: Integers = np.flatnonzero(is_timed[kinds.kind])
        """Their indices in the program."""
        self._kind: Integers = (np.cumsum(is_timed) - 1)[kinds.kind[self.index]]
        timed = np.flatnonzero(is_timed)
        trips = np.maximum(kinds.trips[timed], 1)
        levels = 1 + int(np.flatnonzero((trips > 1).any(axis=0)).max(initial=-1))
        self._trips: Integers = trips[:, :levels]
        self._costs = costs = cost_columns(take_records(kinds.records, timed), self._trips, target)
        self.engine: Integers = costs.engine[self._kind]
        """Places in ``ENGINES``."""
        self._executions: Integers = self._trips.prod(axis=1)
        moved_bytes = self._over_executions(costs.moved_bytes)
        self.moved_bytes = moved_bytes[self._kind]
        """To or from DRAM, over all executions of each record."""
        engines = costs.engine[:, np.newaxis] == np.arange(len(ENGINES))
        columns = [
            *(engines * self._over_executions(costs.cycles)[:, np.newaxis]).T,
            *(engines * self._over_executions(costs.lane_cycles)[:, np.newaxis]).T,
            self._over_executions(costs.macs),
            np.where(engines[:, ENGINES.index("dma_in")], moved_bytes, 0),
            np.where(engines[:, ENGINES.index("dma_out")], moved_bytes, 0),
            self._executions,
        ]
        self._work_before: Integers = np.zeros((len(self.index) + 1, len(columns)), np.int64)
        np.cumsum(np.stack(columns, axis=1)[self._kind], axis=0, out=self._work_before[1:])

    def _over_executions(self, of_case: Integers) -> Integers:
        """Sums over all executions of a record of each kind."""
        if not len(self.index):
            return np.zeros(0, np.int64)
        first = self._costs.first
        # Every case of a record occurs as often as the others.
        return np.asarray(np.add.reduceat(of_case, first[:-1]) * (self._executions // np.diff(first)))

    def work(self, ranges: Sequence[tuple[int, int]]) -> list[Work]:
        """What the records of the program do from the first up to, not including, the end of each range."""
        bounds = np.searchsorted(self.index, np.array(ranges, np.int64).reshape(-1, 2))
        columns = self._work_before[bounds[:, 1]] - self._work_before[bounds[:, 0]]
        engines = len(ENGINES)
        return [
            Work(row[:engines], row[engines : 2 * engines], *row[2 * engines :]) for row in columns.tolist()
        ]

    def cycles_in_order(self) -> list[Iterator[int]]:
        """For each record the cycles that its executions take, in their order."""
        return self._in_order(self._costs.cycles)

    def bytes_in_order(self) -> list[Iterator[int]]:
        """For each record the bytes that its executions move, in their order."""
        return self._in_order(self._costs.moved_bytes)

    def _in_order(self, of_case: Integers) -> list[Iterator[int]]:
        """For each record the values of its cases, one for each execution."""
        values: list[int] = of_case.tolist()
        first: list[int] = self._costs.first.tolist()
        shapes = np.where(self._costs.moving, self._trips, 1)
        cases = np.diff(self._costs.first)
        series: dict[int, list[int]] = {}
        for kind in np.flatnonzero(cases > 1).tolist():
            series[kind] = values[first[kind] : first[kind + 1]]
        for kind in np.flatnonzero((cases > 1) & (cases < self._executions)).tolist():
            by_loop = np.empty(self._trips[kind], np.int64)
            by_loop[...] = of_case[first[kind] : first[kind + 1]].reshape(shapes[kind])
            series[kind] = by_loop.ravel().tolist()
        return [
            iter(series[kind]) if kind in series else repeat(values[first[kind]])
            for kind in self._kind.tolist()
        ]
