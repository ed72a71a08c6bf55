"""What the cores take for a dequantization: a core multiplies each element by a streamed 1 of four bits."""

from __future__ import annotations

from dataclasses import dataclass

from flexc.cost.clock import estimate
from flexc.cost.energy import array_energy
from flexc.cost.energy_breakdown import EnergyBreakdown
from flexc.ir.mapping import DIMS, Factor, Mapping
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import BITS_PER_MULTIPLIER, Target


@dataclass(frozen=True)
class Dequantization:
    """Cycles of the core over all tiles, and energy, traffic with DRAM apart."""

    cycles: int
    energy: EnergyBreakdown


def dequantization(elements: int, bits: int, target: Target, tiles: int = 1) -> Dequantization:
    """Of ``elements`` mantissas of ``bits``, in so many tiles; energy is the same in any number of them."""

    def along_p(extent: int) -> tuple[int, ...]:
        return tuple(extent if dim == "p" else 1 for dim in DIMS)

    problem = ContractionProblem("matmul", along_p(elements), bits, BITS_PER_MULTIPLIER, 1, 1)
    mapping = Mapping("b", Factor("k", 1), Factor("g", 1), (), (), along_p(-(-elements // tiles)), DIMS)
    cost = estimate(problem, mapping, target)
    return Dequantization(cost.compute_cycles, array_energy(problem, mapping, target, cost))
