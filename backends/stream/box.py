"""The box of a record: which of its elements are inside, for which cores, in one iteration of its loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from operator import mul

from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.isa import CORE_AXES, NO_LIMIT

Counters = list[int]
Bounds = tuple[int, int]


@dataclass(frozen=True, eq=False)
class CoreRun:
    """A block of cores, ``cores`` of them from ``first`` on along each core axis, that do the same.

    Their boxes keep the ``count`` positions from ``low`` on of each dimension. Runs are compared by identity:
    what is worked out for one is kept under it.
    """

    first: tuple[int, ...]
    cores: tuple[int, ...]
    low: tuple[int, ...]
    count: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Inside:
    """The insides of the boxes of all cores; ``whole`` when no element of any core is outside."""

    runs: tuple[CoreRun, ...]
    whole: bool


def clip(coordinate: int, step: int, count: int, limit: int) -> Bounds:
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

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...]) -> None:
        self.depth = len(trips)
        self.grid: tuple[int, ...] = tuple(record["core_grid"])
        self.dims = dims = int(record["used_dims"])
        dim = record["dim"]
        self.count: tuple[int, ...] = tuple(dim["count"][:dims])
        self.start: tuple[int, ...] = tuple(dim["start"][:dims])
        self.step: tuple[int, ...] = tuple(dim["step"][:dims])
        self.limit: tuple[int, ...] = tuple(dim["limit"][:dims])
        self.loop: tuple[tuple[int, ...], ...] = tuple(tuple(of[: self.depth]) for of in dim["loop"][:dims])
        self.core: tuple[tuple[int, ...], ...] = tuple(map(tuple, dim["core"][:dims]))
        self._spans = [self._span_of_one_iteration(d) for d in range(self.dims)]
        self.clippable = tuple(d for d in range(self.dims) if self._can_leave(d, trips))
        """Dimensions that have elements outside in some iteration."""
        everything = CoreRun((0,) * CORE_AXES, self.grid, (0,) * self.dims, self.count)
        self.whole = Inside((everything,), True)
        """The inside where nothing is outside."""
        self._by_base: dict[tuple[int, ...], Inside] = {}
        self._by_bounds: dict[object, Inside] = {}

    def _span_of_one_iteration(self, d: int) -> Bounds:
        """The least and the largest coordinate of any core and position, from the base."""
        shifts = [(cores - 1) * more for cores, more in zip(self.grid, self.core[d], strict=True) if more]
        shifts.append((self.count[d] - 1) * self.step[d])
        return sum(shift for shift in shifts if shift < 0), sum(shift for shift in shifts if shift > 0)

    def _can_leave(self, d: int, trips: tuple[int, ...]) -> bool:
        lowest = self.start[d] + self._spans[d][0]
        highest = self.start[d] + self._spans[d][1]
        for trip, more in zip(trips, self.loop[d], strict=True):
            if more > 0:
                highest += (trip - 1) * more
            elif more < 0:
                lowest += (trip - 1) * more
        return lowest < 0 or (highest >= self.limit[d] and self.limit[d] != NO_LIMIT)

    def base(self, d: int, counters: Counters) -> int:
        """The coordinate of element 0 of core 0 in dimension ``d``."""
        coordinate = self.start[d]
        for level, more in enumerate(self.loop[d]):
            coordinate += more * counters[level]
        return coordinate

    def inside(self, counters: Counters) -> Inside:
        """The inside of the box in this iteration."""
        if not self.clippable:
            return self.whole
        key = tuple([self.base(d, counters) for d in self.clippable])
        found = self._by_base.get(key)
        if found is None:
            base = dict(zip(self.clippable, key, strict=True))
            found = self._by_base[key] = self.whole if self._is_whole(base) else self._divide(base)
        return found

    def _is_whole(self, base: dict[int, int]) -> bool:
        return all(
            coordinate + self._spans[d][0] >= 0 and coordinate + self._spans[d][1] < self.limit[d]
            for d, coordinate in base.items()
        )

    def _divide(self, base: dict[int, int]) -> Inside:
        blocks = [self._blocks_of_axis(axis, base) for axis in range(CORE_AXES)]
        lead = [(0, n) for n in self.count]
        runs = []
        for choice in product(*blocks):
            first = tuple([start for start, _ in choice])
            bounds = list(lead)
            for d in base:
                bounds[d] = self._bounds(d, base[d], first)
            if (0, 0) not in bounds:
                cores = tuple([length for _, length in choice])
                runs.append((first, cores, tuple(bounds)))
        found = self._by_bounds.get(tuple(runs))
        if found is None:
            found = self._by_bounds[tuple(runs)] = Inside(
                tuple(
                    CoreRun(
                        first,
                        cores,
                        tuple(low for low, _ in bounds),
                        tuple(high - low for low, high in bounds),
                    )
                    for first, cores, bounds in runs
                ),
                whole=False,
            )
        return found

    def _bounds(self, d: int, base: int, cores: tuple[int, ...]) -> Bounds:
        """The positions inside of a dimension, for one core."""
        base += sum(map(mul, cores, self.core[d]))
        if self.step[d] == 1:
            low, high = max(0, -base), min(self.count[d], self.limit[d] - base)
            return (low, high) if low < high else (0, 0)
        return clip(base, self.step[d], self.count[d], self.limit[d])

    def _blocks_of_axis(self, axis: int, base: dict[int, int]) -> list[tuple[int, int]]:
        """(first core, cores) of blocks along one axis that are clipped alike whatever the other axes."""
        cores = self.grid[axis]
        touched = [d for d in base if self.core[d][axis]]
        if not touched:
            return [(0, cores)]
        others = [other for other in range(CORE_AXES) if other != axis and self.grid[other] > 1]
        if any(self.core[d][other] for d in touched for other in others):
            return [(c, 1) for c in range(cores)]
        blocks: list[tuple[int, int]] = []
        previous = None
        for c in range(cores):
            position = (0,) * axis + (c,) + (0,) * (CORE_AXES - axis - 1)
            bounds = [self._bounds(d, base[d], position) for d in touched]
            if bounds == previous:
                blocks[-1] = (blocks[-1][0], blocks[-1][1] + 1)
            else:
                blocks.append((c, 1))
            previous = bounds
        return blocks
