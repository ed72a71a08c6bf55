"""The closed-form clock of one contraction (machine description, "Clock").

Reads the problem, the mapping and the target; it simulates nothing. Loads and stores are those of the
contraction alone, its result stored in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from flexc.cost.core_cycles import core_cycles
from flexc.cost.operand_traffic import a_sweep, b_sweep
from flexc.cost.tile_cycles import TileCycles
from flexc.cost.utilization import Utilization, utilization_of
from flexc.ir.mapping import OUTPUT_DIMS, Mapping
from flexc.mapping.loops import A_DIMS, B_DIMS, dram_loops, loads_of
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import Target

OUTPUT_BYTES = 4
PLANES = 2
"""Transfers of one tile of a block tensor: its mantissas, then its exponents."""


@dataclass(frozen=True)
class Estimate:
    """Cycles and bytes of one contraction on its own."""

    macs: int
    compute: TileCycles
    """Cycles of the cores over all tiles."""
    first_compute_cycles: int
    """Cycles of the cores on the first tile."""
    a_bytes: int
    b_bytes: int
    output_bytes: int
    loads: int
    """Transfers from DRAM."""
    stores: int
    """Transfers to DRAM."""
    load_cycles: int
    """Cycles of the loading engine over all transfers."""
    store_cycles: int
    """Cycles of the storing engine over all transfers."""
    first_load_cycles: int
    """Cycles until the first tiles of both operands are on chip."""
    last_store_cycles: int
    """Cycles to store the last tile of the result."""
    utilization: Utilization
    """Multipliers at work in the cycles of the cores, and where the rest is lost."""

    @property
    def compute_cycles(self) -> int:
        """Cycles of the cores over all tiles."""
        return self.compute.total

    @property
    def dma_bytes(self) -> int:
        """Bytes to and from DRAM."""
        return self.a_bytes + self.b_bytes + self.output_bytes

    @property
    def cycles(self) -> int:
        """Cycles from the first load to the last store, loading, computing and storing side by side."""
        head = self.first_load_cycles + self.first_compute_cycles
        return max(
            self.first_load_cycles + self.compute_cycles + self.last_store_cycles,
            self.load_cycles + self.first_compute_cycles + self.last_store_cycles,
            head + self.store_cycles,
        )

    @property
    def limit(self) -> str:
        """What bounds the contraction: the DRAM, or the level of the cores that loses most."""
        if max(self.load_cycles, self.store_cycles) > self.compute_cycles:
            return "DRAM"
        return self.utilization.limit


def estimate(problem: ContractionProblem, mapping: Mapping, target: Target) -> Estimate:
    """Cycles, bytes and utilization of ``problem`` under ``mapping``, which must be legal."""
    loops = dram_loops(problem, mapping)
    compute, first = core_cycles(problem, mapping, target)
    a, b = a_sweep(problem, mapping), b_sweep(problem, mapping)
    a_loads, b_loads = loads_of(loops, A_DIMS), loads_of(loops, B_DIMS)
    a_bytes = a.total_bytes * (a_loads // prod(loop.trips for loop in loops if loop.dim in A_DIMS))
    b_bytes = b.total_bytes * (b_loads // prod(loop.trips for loop in loops if loop.dim in B_DIMS))
    loads = PLANES * (a_loads + b_loads)
    output_loops = [loop for loop in loops if loop.dim in OUTPUT_DIMS]
    stores = prod(loop.trips for loop in output_loops)
    output_bytes = problem.outputs * OUTPUT_BYTES
    last_outputs = prod(problem.extent(loop.dim) - (loop.trips - 1) * loop.chip_tile for loop in output_loops)
    return Estimate(
        macs=problem.macs,
        compute=compute,
        first_compute_cycles=first.total,
        a_bytes=a_bytes,
        b_bytes=b_bytes,
        output_bytes=output_bytes,
        loads=loads,
        stores=stores,
        load_cycles=dma_cycles(target, a_bytes + b_bytes, loads),
        store_cycles=dma_cycles(target, output_bytes, stores),
        first_load_cycles=dma_cycles(target, a.first_bytes + b.first_bytes, 2 * PLANES),
        last_store_cycles=dma_cycles(target, last_outputs * OUTPUT_BYTES, 1),
        utilization=utilization_of(problem, mapping, target, compute),
    )


def dma_cycles(target: Target, transferred_bytes: int, transfers: int) -> int:
    """Cycles of one DMA engine: a latency for each transfer, and the bytes at the rate of the DRAM."""
    return transfers * target.dram_latency_cycles + ceil(transferred_bytes / target.dram_bytes_per_cycle)
