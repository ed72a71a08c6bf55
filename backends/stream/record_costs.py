"""What one execution of a record costs: cycles, multiply-accumulates and bytes of DRAM traffic.

Reads instruction fields and rates of the target, nothing else. The cost of a record depends on its loops
only through what of its box is inside (and, for a compute record, where its segments are cut), so it is
worked out once for each such case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from flexc.backends.stream.box import Box, CoreRun, Counters, Inside
from flexc.backends.stream.core_tile import CoreTile
from flexc.backends.stream.decode import DecodedRecord
from flexc.backends.stream.isa import (
    COMPUTE_DIMS,
    CORE_AXES,
    FORMAT_BITS,
    OPCODES,
    Addressing,
    Engine,
    Format,
    Opcode,
)
from flexc.backends.stream.isa_functions import FUNCTIONS
from flexc.target.machine import Target

G, K = COMPUTE_DIMS.index("g"), COMPUTE_DIMS.index("k")


@dataclass(frozen=True)
class Cost:
    """Of one execution: cycles of its engine, MACs (padded taps too), bytes read from and written to DRAM.

    ``lane_cycles`` are the cycles of the lanes that work, added up; 0 of cores and DMA.
    """

    cycles: int
    macs: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    lane_cycles: int = 0


class RecordCost:
    """The cost of a record as a function of its loop counters."""

    def __init__(self, record: DecodedRecord, trips: tuple[int, ...], target: Target) -> None:
        self.record = record
        self.target = target
        self.box = Box(record, trips)
        self.opcode = Opcode(int(record["opcode"]))
        self.engine: Engine = OPCODES[self.opcode].engine
        self._cost = self._cost_of_opcode()
        self._by_inside: dict[tuple[int, int, int], tuple[Inside, Cost]] = {}
        self._segmented = self.opcode is Opcode.COMPUTE and self.engine == "cores"
        moving = {level for d in self.box.clippable for level in range(len(trips)) if self.box.loop[d][level]}
        if self._segmented:
            moving |= {level for d in (G, K) for level in range(len(trips)) if self.box.loop[d][level]}
        self.levels = tuple(sorted(moving))
        """Loop levels that the cost depends on."""

    def cost(self, counters: Counters) -> Cost:
        """The cost in this iteration of the loops."""
        inside = self.box.inside(counters)
        bases = (self.box.base(G, counters), self.box.base(K, counters)) if self._segmented else (0, 0)
        key = (id(inside), *bases)
        found = self._by_inside.get(key)
        if found is None:
            # The inside is kept so that its identity stays its own.
            found = self._by_inside[key] = (inside, self._cost(inside, counters))
        return found[1]

    def _cost_of_opcode(self) -> Callable[[Inside, Counters], Cost]:
        target = self.target
        if self.opcode in (Opcode.LOAD, Opcode.GATHER):
            return lambda inside, counters: self._transfer(inside, ("src", "indices"), read=True)
        if self.opcode is Opcode.STORE:
            return lambda inside, counters: self._transfer(inside, ("dst",), read=False)
        if self.opcode is Opcode.COMPUTE:
            if int(self.record["operand"]["format"][1]) == Format.F32:
                self.engine = "vector"
                return lambda inside, counters: self._fp32_product(inside)
            return self._compute
        if self.opcode is Opcode.CONVERT:
            return self._at_rate(target.converter_elements_per_cycle, 1)
        if self.opcode is Opcode.STATISTICS:
            return self._of_rows(target.lightnorm_elements_per_cycle)
        if self.engine == "lightnorm":
            return self._at_rate(target.lightnorm_elements_per_cycle, 1)
        if self.opcode is Opcode.SCATTER:
            return self._at_rate(target.vector_elements_per_cycle, target.vector_cycles.cycles_of("add"))
        function = FUNCTIONS[int(self.record["function"])].name
        cycles = target.vector_cycles.cycles_of(function)
        return self._at_rate(target.vector_elements_per_cycle, cycles)

    def _at_rate(self, elements_per_cycle: int, cycles: int) -> Callable[[Inside, Counters], Cost]:
        def cost(inside: Inside, counters: Counters) -> Cost:
            elements = _elements(inside)
            return Cost(-(-elements // elements_per_cycle) * cycles, lane_cycles=elements * cycles)

        return cost

    def _of_rows(self, elements_per_cycle: int) -> Callable[[Inside, Counters], Cost]:
        """As :meth:`_at_rate`, the last two dimensions being chunks and rows of a state."""
        rows = prod(self.box.count[-2:])

        def cost(inside: Inside, counters: Counters) -> Cost:
            elements = _elements(inside)
            return Cost(-(-elements // (rows * elements_per_cycle)), lane_cycles=elements // rows)

        return cost

    def _transfer(self, inside: Inside, names: tuple[str, ...], *, read: bool) -> Cost:
        """A DMA transfer: the bits of distinct elements inside, rounded up to bytes."""
        dram_bytes = 0
        operands = OPCODES[self.opcode].operands
        for name in names:
            if name not in operands:
                continue
            operand, place = self.record["operand"], operands.index(name)
            if int(operand["addressing"][place]) == Addressing.GLOBAL:
                bits = FORMAT_BITS[Format(int(operand["format"][place]))]
                indexed = [stride != 0 for stride in operand["stride"][place][: self.box.dims]]
                if name == "src" and self.opcode is Opcode.GATHER:
                    # Each index chooses a row, whichever dimensions of the box it lies along.
                    choosing = operand["stride"][operands.index("indices")]
                    indexed = [one or stride != 0 for one, stride in zip(indexed, choosing, strict=False)]
                    indexed[int(self.record["axis"])] = True
                dram_bytes += -(-_distinct(self.box, inside, indexed) * bits // 8)
        cycles = self.target.dram_latency_cycles + ceil(dram_bytes / self.target.dram_bytes_per_cycle)
        return Cost(cycles, 0, dram_bytes if read else 0, 0 if read else dram_bytes)

    def _fp32_product(self, inside: Inside) -> Cost:
        macs = _elements(inside)
        return Cost(-(-macs // self.target.vector_elements_per_cycle), macs, lane_cycles=macs)

    def _compute(self, inside: Inside, counters: Counters) -> Cost:
        tile = CoreTile(self.record, self.target)
        start = {d: self.box.base(d, counters) for d in (G, K)}
        slowest = 0
        for run in inside.runs:
            firsts = {
                tuple(base + run.low[d] + _shift(self.box, d, core) for d, base in start.items())
                for core in _cores(run)
            }
            slowest = max(slowest, *(tile.cycles(run.count, *first) for first in firsts))
        return Cost(slowest, _elements(inside))


def _elements(inside: Inside) -> int:
    """Elements inside, over all cores."""
    return sum(prod(run.cores) * prod(run.count) for run in inside.runs)


def _distinct(box: Box, inside: Inside, indexed: list[bool]) -> int:
    """Different elements inside, over all cores, of an operand that some of the dimensions index."""
    dims = [d for d in range(box.dims) if indexed[d]]
    if any(sum(box.core[d][axis] != 0 for d in dims) > 1 for axis in range(CORE_AXES)):
        boxes = {
            tuple((_shift(box, d, core) + run.low[d] * box.step[d], run.count[d]) for d in dims)
            for run in inside.runs
            for core in _cores(run)
        }
        return sum(prod(count for _, count in corner) for corner in boxes)
    return prod(_distinct_along(box, inside, d) for d in dims)


def _distinct_along(box: Box, inside: Inside, d: int) -> int:
    if not any(box.core[d]):
        return max((run.count[d] for run in inside.runs), default=0)
    step = box.step[d]
    starts = {
        (_shift(box, d, core) + run.low[d] * step, run.count[d])
        for run in inside.runs
        for core in _cores(run, box.core[d])
    }
    return len({coordinate for first, n in starts for coordinate in range(first, first + n * step, step)})


def _shift(box: Box, d: int, core: tuple[int, ...]) -> int:
    return sum(more * c for more, c in zip(box.core[d], core, strict=True))


def _cores(run: CoreRun, moving: tuple[int, ...] = (1,) * CORE_AXES) -> Iterator[tuple[int, ...]]:
    """The cores of a run; of those that differ along axes with an increment of zero, the first."""
    ranges = zip(run.first, run.cores, moving, strict=True)
    return product(*(range(first, first + (n if more else 1)) for first, n, more in ranges))
