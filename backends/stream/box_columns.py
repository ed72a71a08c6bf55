"""The boxes of many records at once: what of them is inside, in each iteration of their loops.

As ``box``, which does one record. A *case* of a record is one setting of the counters of those loops that
what is inside depends on; cases are in the order in which the loops come to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.columns import Flags, Integers, label_rows
from flexc.backends.stream.isa import CORE_AXES, NO_LIMIT


@dataclass(frozen=True)
class Cases:
    """Cases of records: the ``record`` of each [cases], and the counters of its loops [cases, levels].

    Those of record r are from ``first[r]`` up to ``first[r + 1]``.
    """

    first: Integers
    record: Integers
    counters: Integers


@dataclass(frozen=True)
class Insides:
    """Positions [low, low + count) of each core's box that are inside, for rows of records.

    ``low`` and ``count`` are [rows, cores, dimensions], as many dimensions as any of the records uses, and at
    least one. A core of which nothing is inside, or that is none of the record's, has a count of 0 in each.
    """

    record: Integers
    low: Integers
    count: Integers

    @property
    def elements(self) -> Integers:
        """Elements inside over all cores, by row."""
        return np.asarray(self.count.prod(axis=2).sum(axis=1))

    def rows(self, row: Integers) -> Insides:
        """Some of the rows."""
        return Insides(self.record[row], self.low[row], self.count[row])


class BoxColumns:
    """The dimensions of ``records`` [records]; ``trips`` [records, levels] is 1 where there is no loop.

    Loops of levels beyond those of ``trips`` have one iteration. A dimension that a record does not use has
    one element, which is inside; there are as many as any of them uses, at least one.
    """

    def __init__(self, records: NDArray[Any], trips: Integers) -> None:
        used_dims = records["used_dims"].astype(np.int64)
        dims = int(used_dims.max(initial=1))
        used: Flags = np.arange(dims) < used_dims[:, np.newaxis]
        of_dims = records["dim"][:, :dims]
        self.used_dims: Integers = used_dims
        self.trips: Integers = trips
        self.count, self.step, self.limit = (
            np.where(used, of_dims[name], 1).astype(np.int64) for name in ("count", "step", "limit")
        )
        self.start: Integers = of_dims["start"].astype(np.int64)
        self.loop: Integers = of_dims["loop"][..., : trips.shape[1]].astype(np.int64)
        self.core: Integers = of_dims["core"].astype(np.int64)
        self.cores: Integers = records["core_grid"].astype(np.int64).prod(axis=1)
        self._grid, self._positions = _core_positions(records["core_grid"])
        last = (self.count - 1) * self.step
        steps = records["core_grid"].astype(np.int64) - 1
        self._lowest = np.minimum(last, 0) + _along(np.minimum(self.core, 0), steps)
        self._highest = np.maximum(last, 0) + _along(np.maximum(self.core, 0), steps)
        lowest = self.start + self._lowest + _along(np.minimum(self.loop, 0), self.trips - 1)
        highest = self.start + self._highest + _along(np.maximum(self.loop, 0), self.trips - 1)
        self.clippable: Flags = (lowest < 0) | ((highest >= self.limit) & (self.limit != NO_LIMIT))
        """Dimensions [records, dimensions] that have elements outside in some iteration."""

    def __len__(self) -> int:
        return len(self.count)

    def moving(self, dims: Flags) -> Flags:
        """Loops [records, levels] that move any of ``dims`` [records, dimensions]."""
        return np.asarray((dims[:, :, np.newaxis] & (self.loop != 0)).any(axis=1))

    def cases(self, moving: Flags) -> Cases:
        """A case for each setting of the counters of the loops that are ``moving`` [records, levels]."""
        trips = np.where(moving, self.trips, 1)
        inner = np.ones_like(trips)
        inner[:, :-1] = np.cumprod(trips[:, :0:-1], axis=1)[:, ::-1]
        first = np.concatenate(([0], np.cumsum(trips.prod(axis=1))))
        record = np.repeat(np.arange(len(self)), np.diff(first))
        number = np.arange(first[-1]) - first[record]
        return Cases(first, record, number[:, np.newaxis] // inner[record] % trips[record])

    def bases(self, cases: Cases) -> Integers:
        """The coordinates [cases, dimensions] of element 0 of core 0."""
        return self.start[cases.record] + _along(self.loop[cases.record], cases.counters)

    def leaves(self, record: Integers, bases: Integers) -> Flags:
        """Whether any element of the box of any core is outside, by case."""
        outside = bases + self._lowest[record] < 0
        outside |= bases + self._highest[record] >= self.limit[record]
        return np.asarray((outside & self.clippable[record]).any(axis=1))

    def shifts(self, record: Integers, d: Integers | int, cores: int) -> Integers:
        """How far the boxes of cores [rows, cores] are from that of core 0, along ``d`` of each row."""
        positions = self._positions[self._grid[record], :cores]
        return np.asarray(np.einsum("ra,rca->rc", self.core[record, d], positions))

    def insides(self, record: Integers, bases: Integers) -> Insides:
        """The insides of boxes whose element 0 of core 0 is at ``bases`` [rows, dimensions]."""
        dims = int(self.used_dims[record].max(initial=1))
        of_row = self.cores[record]
        cores = int(of_row.max(initial=1))
        count = np.repeat(self.count[record, np.newaxis, :dims], cores, axis=1)
        if of_row.min(initial=cores) < cores:
            count[np.arange(cores) >= of_row[:, np.newaxis]] = 0
        low = np.zeros_like(count)
        row, d = np.nonzero(self.clippable[record, :dims])
        of_record = record[row]
        coordinate = bases[row, d, np.newaxis] + self.shifts(of_record, d, cores)
        step, limit = self.step[of_record, d, np.newaxis], self.limit[of_record, d, np.newaxis]
        before, until = -coordinate, limit - coordinate
        if (step != 1).any():
            coordinate = np.where(step < 0, limit - 1 - coordinate, coordinate)
            step = np.abs(step)
            before, until = -(coordinate // step), -((coordinate - limit) // step)
        first = np.maximum(0, before)
        end = np.minimum(count[row, :, d], until)
        inside = first < end
        low[row, :, d] = np.where(inside, first, 0)
        count[row, :, d] = np.where(inside, end - first, 0)
        pair, core = np.nonzero(~inside)
        count[row[pair], core] = 0
        return Insides(record, low, count)


def _along(of_dims: Integers, of_axes: Integers) -> Integers:
    """Sums over axes of ``of_dims`` [rows, dimensions, axes] times ``of_axes`` [rows, axes]."""
    return np.asarray(np.einsum("rda,ra->rd", of_dims, of_axes))


def _core_positions(grids: NDArray[np.uint8]) -> tuple[Integers, Integers]:
    """The different grids of ``grids`` [records, axes]: which one each record has, and positions of cores.

    Positions are [grids, cores, axes]; beyond the cores of a grid they go on along its first axis.
    """
    labels = label_rows([grids[:, axis].astype(np.int64) for axis in range(CORE_AXES)])
    _, one, grid = np.unique(labels, return_index=True, return_inverse=True)
    extents = grids[one].astype(np.int64)
    number = np.arange(int(extents.prod(axis=1).max(initial=1)))
    positions = np.empty((len(one), len(number), CORE_AXES), np.int64)
    for axis in (2, 1):
        positions[..., axis] = number % extents[:, axis, np.newaxis]
        number = number // extents[:, axis, np.newaxis]
    positions[..., 0] = number
    return grid, positions
