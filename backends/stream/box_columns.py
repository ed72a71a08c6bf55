"""The boxes of many records at once: what of them is inside, in each iteration of their loops.

As ``box``, which does one record. A *case* of a record is one setting of the counters of those loops that
what is inside depends on; cases are in the order in which the loops come to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flexc.backends.stream.isa import DIMS, LOOP_LEVELS, NO_LIMIT

Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
MOST_LABELS = 1 << 62


def label_rows(columns: Sequence[Integers]) -> Integers:
    """Numbers that are equal exactly where all columns are."""
    labels = np.zeros(len(columns[0]), np.int64)
    if not len(labels):
        return labels
    extent = 1
    for column in columns:
        first = int(column.min())
        values = int(column.max()) - first + 1
        if extent * values > MOST_LABELS:
            labels = np.unique(labels, return_inverse=True)[1]
            extent = int(labels.max()) + 1
        labels = labels * values + (column - first)
        extent *= values
    return labels


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

    ``low`` and ``count`` are [rows, cores, dimensions]. A core of which nothing is inside, or that is none of
    the record's, has no position in any dimension.
    """

    record: Integers
    low: Integers
    count: Integers

    @property
    def elements(self) -> Integers:
        """Elements inside over all cores, by row."""
        return np.asarray(self.count.prod(axis=2).sum(axis=1))

    def rows(self, row: Integers | Flags) -> Insides:
        """Some of the rows."""
        return Insides(self.record[row], self.low[row], self.count[row])


class BoxColumns:
    """The dimensions of ``records`` [records]; ``trips`` [records, levels] is 1 where there is no loop.

    A dimension that a record does not use has one element, which is inside.
    """

    def __init__(self, records: NDArray[Any], trips: Integers) -> None:
        dims = records["dim"]
        used: Flags = np.arange(DIMS) < records["used_dims"][:, np.newaxis]
        self.trips = trips
        self.count, self.step, self.limit = (
            np.where(used, dims[name], 1).astype(np.int64) for name in ("count", "step", "limit")
        )
        self.start: Integers = dims["start"].astype(np.int64)
        self.loop: Integers = dims["loop"].astype(np.int64)
        self.core: Integers = dims["core"].astype(np.int64)
        self.grid: Integers = records["core_grid"].astype(np.int64)
        self.cores: Integers = self.grid.prod(axis=1)
        last = (self.count - 1) * self.step
        shifts = (self.grid - 1)[:, np.newaxis, :] * self.core
        self._lowest = np.minimum(shifts, 0).sum(axis=2) + np.minimum(last, 0)
        self._highest = np.maximum(shifts, 0).sum(axis=2) + np.maximum(last, 0)
        moves = (trips - 1)[:, np.newaxis, :] * self.loop
        lowest = self.start + self._lowest + np.minimum(moves, 0).sum(axis=2)
        highest = self.start + self._highest + np.maximum(moves, 0).sum(axis=2)
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
        found = self.start[cases.record]
        for level in range(LOOP_LEVELS):
            if (self.trips[:, level] > 1).any():
                found += self.loop[cases.record, :, level] * cases.counters[:, level, np.newaxis]
        return found

    def leaves(self, record: Integers, bases: Integers) -> Flags:
        """Whether any element of the box of any core is outside, by case."""
        outside = bases + self._lowest[record] < 0
        outside |= bases + self._highest[record] >= self.limit[record]
        return np.asarray((outside & self.clippable[record]).any(axis=1))

    def positions(self, record: Integers, cores: int) -> Integers:
        """The positions [rows, cores, axes] of cores in the grid, beyond it for those that are none."""
        grid = self.grid[record][:, np.newaxis, :]
        number = np.arange(cores)
        found = np.empty((len(record), len(number), grid.shape[2]), np.int64)
        for axis in (2, 1):
            found[..., axis] = number % grid[..., axis]
            number = number // grid[..., axis]
        found[..., 0] = number
        return found

    def whole(self, record: Integers) -> Insides:
        """The insides of boxes of which nothing is outside."""
        cores = np.arange(int(self.cores[record].max(initial=1))) < self.cores[record][:, np.newaxis]
        count = self.count[record][:, np.newaxis, :] * cores[:, :, np.newaxis]
        return Insides(record, np.zeros_like(count), count)

    def insides(self, record: Integers, bases: Integers) -> Insides:
        """The insides of boxes whose element 0 of core 0 is at ``bases`` [rows, dimensions]."""
        found = self.whole(record)
        row, d = np.nonzero(self.clippable[record])
        of_record = record[row]
        positions = self.positions(record, found.count.shape[1])[row]
        coordinate = bases[row, d, np.newaxis] + (self.core[of_record, d, np.newaxis, :] * positions).sum(
            axis=2
        )
        step, limit = self.step[of_record, d, np.newaxis], self.limit[of_record, d, np.newaxis]
        coordinate = np.where(step < 0, limit - 1 - coordinate, coordinate)
        step = np.abs(step)
        low = np.maximum(0, -(coordinate // step))
        high = np.minimum(self.count[of_record, d, np.newaxis], -((coordinate - limit) // step))
        inside = (low < high) & (found.count[row, :, d] > 0)
        found.low[row, :, d] = np.where(inside, low, 0)
        found.count[row, :, d] = np.where(inside, high - low, 0)
        found.count[~found.count.all(axis=2)] = 0
        return found
