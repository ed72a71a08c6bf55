"""The closed-form clock of one contraction (machine description, "Clock").

Reads the problem, the mapping and the target; it simulates nothing. Loads and stores are those of the
contraction alone, its result stored in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from flexc.cost.core_cycles import core_cycles
from flexc.cost.operand_loads import OperandLoads, dma_cycles, operand_loads
from flexc.cost.tile_cycles import TileCycles
from flexc.cost.utilization import Utilization, utilization_of
from flexc.ir.mapping import OUTPUT_DIMS, Mapping
from flexc.mapping.loops import dram_loops
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import Target

OUTPUT_BYTES = 4


@dataclass(frozen=True)
class Estimate:
    """Cycles and bytes of one contraction on its own."""

    macs: int
    compute: TileCycles
    """Cycles of the cores over all tiles."""
    first_compute_cycles: int
    """Cycles of the cores on the first tile."""
    operands: OperandLoads
    output_bytes: int
    stores: int
    """Transfers to DRAM."""
    store_cycles: int
    """Cycles of the storing engine over all transfers."""
    last_store_cycles: int
    """Cycles to store the last tile of the result."""
    utilization: Utilization
    """Multipliers at work in the cycles of the cores, and where the rest is lost."""

    @property
    def compute_cycles(self) -> int:
        """Cycles of the cores over all tiles."""
        return self.compute.total

    @property
    def a_bytes(self) -> int:
        """Bytes of operand a that are loaded."""
        return self.operands.a_bytes

    @property
    def b_bytes(self) -> int:
        """Bytes of operand b that are loaded."""
        return self.operands.b_bytes

    @property
    def loads(self) -> int:
        """Transfers from DRAM."""
        return self.operands.transfers

    @property
    def load_cycles(self) -> int:
        """Cycles of the loading engine over all transfers."""
        return self.operands.cycles

    @property
    def dma_bytes(self) -> int:
        """Bytes to and from DRAM."""
        return self.a_bytes + self.b_bytes + self.output_bytes

    @property
    def cycles(self) -> int:
        """Cycles from the first load to the last store, loading, computing and storing side by side."""
        first_load = self.operands.first_cycles
        head = first_load + self.first_compute_cycles
        return max(
            first_load + self.compute_cycles + self.last_store_cycles,
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
    output_loops = [loop for loop in loops if loop.dim in OUTPUT_DIMS]
    stores = prod(loop.trips for loop in output_loops)
    output_bytes = problem.outputs * OUTPUT_BYTES
    last_outputs = prod(problem.extent(loop.dim) - (loop.trips - 1) * loop.chip_tile for loop in output_loops)
    return Estimate(
        macs=problem.macs,
        compute=compute,
        first_compute_cycles=first.total,
        operands=operand_loads(problem, mapping, target),
        output_bytes=output_bytes,
        stores=stores,
        store_cycles=dma_cycles(target, output_bytes, stores),
        last_store_cycles=dma_cycles(target, last_outputs * OUTPUT_BYTES, 1),
        utilization=utilization_of(problem, mapping, target, compute),
    )
