"""The box of a record: which of its elements are inside, for which cores, in one iteration of its loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from flexc.backends.stream.isa import CORE_AXES, NO_LIMIT

Counters = list[int]


@dataclass(frozen=True)
class CoreRun:
    """A block of cores, ``cores`` of them from ``first`` on along each core axis, that do the same.

    Their boxes keep the ``count`` positions from ``low`` on of each dimension.
    """

    first: tuple[int, ...]
    cores: tuple[int, ...]
    low: tuple[int, ...]
    count: tuple[int, ...]


@dataclass(frozen=True)
class Inside:
    """The insides of the boxes of all cores; ``whole`` when no element of any core is outside."""

    runs: tuple[CoreRun, ...]
    whole: bool


def clip(coordinate: int, step: int, count: int, limit: int) -> tuple[int, int]:
    """The positions [low, high) whose coordinates are in [0, limit); (0, 0) without any."""
    if step > 0:
        low = max(0, -(coordinate // step)) if coordinate < 0 else 0
        high = min(count, -((coordinate - limit) // step))
    else:
        low = max(0, -((limit - 1 - coordinate) // -step))
        high = min(count, coordinate // -step + 1)
    return (low, high) if low < high else (0, 0)


class Box:
    """The dimensions of a record under ``trips``, the trip counts of its loops from the outermost on."""

    def __init__(self, record: Any, trips: tuple[int, ...]) -> None:
        self.depth = len(trips)
        self.grid: tuple[int, ...] = tuple(int(n) for n in record["core_grid"])
        self.dims = int(record["used_dims"])
        dim = record["dim"][: self.dims]
        self.count: tuple[int, ...] = tuple(int(n) for n in dim["count"])
        self.start: tuple[int, ...] = tuple(int(n) for n in dim["start"])
        self.step: tuple[int, ...] = tuple(int(n) for n in dim["step"])
        self.limit: tuple[int, ...] = tuple(int(n) for n in dim["limit"])
        self.loop: tuple[tuple[int, ...], ...] = tuple(
            tuple(int(n) for n in row[: self.depth]) for row in dim["loop"]
        )
        self.core: tuple[tuple[int, ...], ...] = tuple(tuple(int(n) for n in row) for row in dim["core"])
        self.clippable = tuple(d for d in range(self.dims) if self._can_leave(d, trips))
        """Dimensions that have elements outside in some iteration."""
        self._cache: dict[tuple[int, ...], Inside] = {}
        self._distinct: dict[Inside, Inside] = {}

    def _can_leave(self, d: int, trips: tuple[int, ...]) -> bool:
        spans = [
            *((trip - 1) * more for trip, more in zip(trips, self.loop[d], strict=True)),
            *((cores - 1) * more for cores, more in zip(self.grid, self.core[d], strict=True)),
            (self.count[d] - 1) * self.step[d],
        ]
        lowest = self.start[d] + sum(min(0, span) for span in spans)
        highest = self.start[d] + sum(max(0, span) for span in spans)
        return lowest < 0 or (highest >= self.limit[d] and self.limit[d] != NO_LIMIT)

    def base(self, d: int, counters: Counters) -> int:
        """The coordinate of element 0 of core 0 in dimension ``d``."""
        coordinate = self.start[d]
        for level, more in enumerate(self.loop[d]):
            coordinate += more * counters[level]
        return coordinate

    def inside(self, counters: Counters) -> Inside:
        """The inside of the box in this iteration."""
        key = tuple([self.base(d, counters) for d in self.clippable])
        found = self._cache.get(key)
        if found is None:
            divided = self._divide(dict(zip(self.clippable, key, strict=True)))
            found = self._cache[key] = self._distinct.setdefault(divided, divided)
        return found

    def _divide(self, base: dict[int, int]) -> Inside:
        def kept(d: int, cores: tuple[int, ...]) -> tuple[int, int]:
            if d not in base:
                return 0, self.count[d]
            coordinate = base[d] + sum(c * more for c, more in zip(cores, self.core[d], strict=True))
            return clip(coordinate, self.step[d], self.count[d], self.limit[d])

        blocks = [self._blocks_of_axis(axis, base, kept) for axis in range(CORE_AXES)]
        runs: list[CoreRun] = []
        whole = True
        for choice in product(*blocks):
            first = tuple(start for start, _ in choice)
            bounds = [kept(d, first) for d in range(self.dims)]
            whole = whole and all(high - low == n for (low, high), n in zip(bounds, self.count, strict=True))
            if all(low < high for low, high in bounds):
                runs.append(
                    CoreRun(
                        first,
                        tuple(length for _, length in choice),
                        tuple(low for low, _ in bounds),
                        tuple(high - low for low, high in bounds),
                    )
                )
        return Inside(tuple(runs), whole)

    def _blocks_of_axis(self, axis: int, base: dict[int, int], kept: Any) -> list[tuple[int, int]]:
        """(first core, cores) of blocks along one axis that are clipped alike whatever the other axes."""
        cores = self.grid[axis]
        touched = [d for d in base if self.core[d][axis]]
        shared = any(
            self.core[d][other] and self.grid[other] > 1
            for d in touched
            for other in range(CORE_AXES)
            if other != axis
        )
        if shared:
            return [(c, 1) for c in range(cores)]
        blocks: list[tuple[int, int]] = []
        previous = None
        for c in range(cores):
            position = tuple(c if a == axis else 0 for a in range(CORE_AXES))
            bounds = [kept(d, position) for d in touched]
            if bounds == previous:
                blocks[-1] = (blocks[-1][0], blocks[-1][1] + 1)
            else:
                blocks.append((c, 1))
            previous = bounds
        return blocks
