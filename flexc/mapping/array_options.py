"""Ways to spread a contraction over the lanes, units and PEs of a core."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import prod
from typing import Literal

from flexc.ir.mapping import OUTPUT_DIMS, Dim, Factor, PeFactor
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import Target

INDEXED_BY_B_ALONE: tuple[Dim, ...] = ("o",)
INDEXED_BY_A_ALONE: tuple[Dim, ...] = ("q", "p", "n")


@dataclass(frozen=True)
class ArrayOption:
    """One use of a core's array: what streams, and the spatial factors."""

    stream: Literal["a", "b"]
    lane: Factor
    unit: Factor
    pes: tuple[PeFactor, ...]

    @property
    def macs_per_cycle(self) -> int:
        """Products of a core a cycle, when every factor is full."""
        return self.lane.factor * self.unit.factor * prod(pe.factor for pe in self.pes)


def array_options(problem: ContractionProblem, target: Target) -> list[ArrayOption]:
    """Every useful option, in a fixed order. A CompileError for widths the array does not multiply."""
    shape = target.pe_shape(problem.a_bits, problem.b_bits)
    streams: tuple[Literal["a", "b"], ...] = ("a", "b")
    if problem.a_bits != problem.b_bits:
        streams = ("a",) if problem.a_bits < problem.b_bits else ("b",)
    spreads: list[tuple[Literal["a", "b"], Factor, Factor]] = []
    for stream in streams:
        for dim in INDEXED_BY_B_ALONE if stream == "a" else _present(problem, INDEXED_BY_A_ALONE) or ("q",):
            if problem.extent("k") > 1:
                units = Factor(dim, min(shape.units, problem.extent(dim)))
                spreads.append((stream, Factor("k", shape.lanes), units))
        if problem.extent("k") == 1:
            channel: Dim = "g" if problem.extent("g") > 1 else "o"
            units_used = min(shape.units, target.pe_fp32_adders, problem.extent(channel))
            lanes_used = min(shape.lanes, target.pe_fp32_adders // units_used)
            spreads.append((stream, Factor(channel, lanes_used), Factor(channel, units_used)))
    pes = pe_options(problem, target, shape.lanes if problem.extent("k") > 1 else 1)
    return [ArrayOption(*spread, each) for spread in spreads for each in pes]


def pe_options(problem: ContractionProblem, target: Target, lanes: int) -> list[tuple[PeFactor, ...]]:
    """Uses of the PEs in factors of 3 and 9: integer reduction, chains in segment order, outputs."""
    uses = [PeFactor("outputs", dim, 3) for dim in _present(problem, OUTPUT_DIMS)]
    if problem.longest_segment > lanes:
        uses.append(PeFactor("reduce", "k", 3))
    uses += [PeFactor("chain", dim, 3) for dim in _present(problem, ("k", "r", "s"))]
    found: list[tuple[PeFactor, ...]] = [(), *((use,) for use in uses)]
    found += [(PeFactor(use.role, use.dim, 9),) for use in uses]
    found += [pair for pair in combinations_with_replacement(uses, 2) if pair[0] != pair[1]]
    return [pes for pes in found if chains_keep_order(problem, pes)]


def chains_keep_order(problem: ContractionProblem, pes: tuple[PeFactor, ...]) -> bool:
    """Whether chained PEs hold consecutive segments: all dimensions inside a chained one are whole."""
    chained = {pe.dim: pe.factor for pe in pes if pe.role == "chain"}
    if len(chained) < sum(pe.role == "chain" for pe in pes):
        return False
    inner_whole = True
    for dim in ("s", "r", "k"):
        if dim in chained and not inner_whole:
            return False
        inner_whole = inner_whole and chained.get(dim, 1) >= problem.extent(dim)
    return True


def _present(problem: ContractionProblem, dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    return tuple(dim for dim in dims if problem.extent(dim) > 1)
