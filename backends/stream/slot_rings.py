"""Rings of buffers and the memories they lie in, as far as it matters when buffers may be used.

What a buffer holds is summed up in two cycles, its *times*: from the first on it may be read, from the second
on it may be written over.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TypeAlias

Times: TypeAlias = list[int]
"""[readable, writable]; a list, since the records that use a buffer share it and change it."""


class Ring:
    """The buffers of one declaration of a slot; ``current`` are the times of the present one."""

    __slots__ = ("_others", "_position", "current", "depth")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.current: Times = [0, 0]
        self._position = 0
        self._others = [(0, 0)] * depth

    def start(self, times: Sequence[tuple[int, int]]) -> None:
        """The ring is declared, with the times of each buffer."""
        self._others[:] = times
        self.current[:] = times[0]

    def next(self) -> None:
        """The next buffer becomes the present one."""
        if self.depth > 1:
            readable, writable = self.current
            self._others[self._position] = (readable, writable)
            self._position = (self._position + 1) % self.depth
            self.current[:] = self._others[self._position]

    def times(self, position: int) -> tuple[int, int]:
        """The times of a buffer."""
        if position != self._position:
            return self._others[position]
        readable, writable = self.current
        return readable, writable


class Memory:
    """Which buffer each range of a memory's addresses belongs to: the last that was declared over it."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._owners: list[tuple[Ring, int]] = []

    def declare(self, ring: Ring, first: int, size: int) -> None:
        """Start ``ring``, whose buffers of ``size`` bytes lie one after the other from ``first`` on.

        A buffer waits for all those whose memory it takes over.
        """
        times = []
        for position in range(ring.depth):
            times.append(self._take((ring, position), first, first + size))
            first += size
        ring.start(times)

    def _take(self, owner: tuple[Ring, int], low: int, high: int) -> tuple[int, int]:
        """Give a range to a buffer; the latest times of those that had parts of it."""
        starts, ends, owners = self._starts, self._ends, self._owners
        first = bisect_right(ends, low)
        if first < len(starts) and starts[first] == low and ends[first] == high:
            ring, position = owners[first]
            owners[first] = owner
            return ring.times(position)
        last = bisect_left(starts, high, first)
        if first == last:
            starts.insert(first, low)
            ends.insert(first, high)
            owners.insert(first, owner)
            return 0, 0
        readable = writable = 0
        for ring, position in owners[first:last]:
            times = ring.times(position)
            readable, writable = max(readable, times[0]), max(writable, times[1])
        # The first and the last buffer keep what is left of their ranges on either side.
        before, behind = starts[first] < low, ends[last - 1] > high
        kept = slice(first + before, last - behind)
        if before and behind and last - first == 1:
            starts[first + 1 : first + 1] = low, high
            ends[first:last] = low, high, ends[first]
            owners[first + 1 : first + 1] = owner, owners[first]
            return readable, writable
        if before:
            ends[first] = low
        if behind:
            starts[last - 1] = high
        starts[kept], ends[kept], owners[kept] = (low,), (high,), (owner,)
        return readable, writable
