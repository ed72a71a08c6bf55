"""What a contraction loads: transfers and bytes of its operands, the first ones, and in which order.

A tile is loaded outside all loops that do not index it; of two loads in the same loop, operand a comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from flexc.cost.operand_traffic import a_sweep, b_sweep
from flexc.cost.pipeline import MOST_STEPS, Step, even_steps
from flexc.ir.mapping import OUTPUT_DIMS, Dim, Mapping
from flexc.mapping.loops import A_DIMS, B_DIMS, DramLoop, chip_tile_sizes, dram_loops, loads_of
from flexc.mapping.problem import ContractionProblem
from flexc.target.machine import Target

REDUCED_DIMS: tuple[Dim, ...] = ("k", "r", "s")
CHANNEL_DIMS: frozenset[Dim] = frozenset(("g", "o"))
"""Dimensions that index values of each output channel: a bias, the constants of a norm."""


@dataclass(frozen=True)
class OperandLoads:
    """Loads of one contraction over all of its tiles."""

    a_bytes: int
    b_bytes: int
    planes: int
    """Transfers of one tile of an operand: its mantissas and, where there are any, its exponents."""
    transfers: int
    cycles: int
    """Cycles of the loading engine over all transfers."""
    first_a_cycles: int
    first_b_cycles: int
    """Cycles of the loading engine on the first tile of each operand."""
    depths: tuple[int, int, int]
    """How many loops the loads of a, of b and of values of the output channels stand in."""
    tiles: int
    """Tiles of the result."""
    steps: tuple[Step, ...]
    """Tiles of operands for each tile of the result, many of them taken together."""
    products: int
    """Tiles of operands over all tiles of the result."""
    channel_loads: int
    """How often values of the output channels are loaded, a part of them at a time."""
    channel_sweeps: int
    """How often all of them are."""

    @property
    def first_cycles(self) -> int:
        """Cycles until the first tiles of both operands are on chip."""
        return self.first_a_cycles + self.first_b_cycles


def operand_loads(problem: ContractionProblem, mapping: Mapping, target: Target) -> OperandLoads:
    """The loads of ``problem`` under ``mapping``."""
    loops = dram_loops(problem, mapping)
    a, b = a_sweep(problem, mapping), b_sweep(problem, mapping)
    a_loads, b_loads = loads_of(loops, A_DIMS), loads_of(loops, B_DIMS)
    # Exponents of all conv groups stay while a tile goes through the groups.
    shared = A_DIMS - {"g"} if problem.grouped_channels else A_DIMS
    exponent_loads = loads_of(loops, shared)
    channel_loads = loads_of(loops, CHANNEL_DIMS)
    a_bytes = a.mantissa_bytes * (a_loads // _trips(loops, A_DIMS))
    a_bytes += a.exponent_bytes * (exponent_loads // _trips(loops, shared))
    b_bytes = (b.mantissa_bytes + b.exponent_bytes) * (b_loads // _trips(loops, B_DIMS))
    planes = 2 if problem.exponent_bytes else 1
    tiles = _trips(loops, frozenset(OUTPUT_DIMS))
    transfers = a_loads + b_loads
    if problem.exponent_bytes:
        transfers += exponent_loads + b_loads
    return OperandLoads(
        a_bytes=a_bytes,
        b_bytes=b_bytes,
        planes=planes,
        transfers=transfers,
        cycles=dma_cycles(target, a_bytes + b_bytes, transfers),
        first_a_cycles=dma_cycles(target, a.first_bytes, planes),
        first_b_cycles=dma_cycles(target, b.first_bytes, planes),
        depths=(_depth(loops, A_DIMS), _depth(loops, B_DIMS), _depth(loops, CHANNEL_DIMS)),
        tiles=tiles,
        steps=_steps(problem, mapping, target, planes, a_bytes + b_bytes),
        products=prod(loop.trips for loop in loops),
        channel_loads=channel_loads,
        channel_sweeps=channel_loads // _trips(loops, CHANNEL_DIMS),
    )


def dma_cycles(target: Target, transferred_bytes: int, transfers: int) -> int:
    """Cycles of one DMA engine: a latency for each transfer, and the bytes at the rate of the DRAM."""
    return transfers * target.dram_latency_cycles + ceil(transferred_bytes / target.dram_bytes_per_cycle)


def _trips(loops: list[DramLoop], dims: frozenset[Dim]) -> int:
    return prod(loop.trips for loop in loops if loop.dim in dims)


def _depth(loops: list[DramLoop], dims: frozenset[Dim]) -> int:
    """How many loops a load stands in."""
    moving = (level + 1 for level, loop in enumerate(loops) if loop.dim in dims and loop.trips > 1)
    return max(moving, default=0)


def _steps(
    problem: ContractionProblem, mapping: Mapping, target: Target, planes: int, loaded_bytes: int
) -> tuple[Step, ...]:
    """The tiles of k, r and s in their order: their shares by extents, and a latency for each transfer."""
    sizes = [chip_tile_sizes(problem, mapping, dim) for dim in REDUCED_DIMS]
    count = prod(sum(each.values()) for each in sizes)
    if count > MOST_STEPS:
        return even_steps(MOST_STEPS)
    extents = [prod(chosen) for chosen in product(*(list(each.elements()) for each in sizes))]
    latency = 2 * planes * target.dram_latency_cycles
    tiles = _trips(dram_loops(problem, mapping), frozenset(OUTPUT_DIMS))
    moving = loaded_bytes / target.dram_bytes_per_cycle / tiles
    whole, all_loads = sum(extents), moving + count * latency
    return tuple(Step((latency + moving * extent / whole) / all_loads, extent / whole) for extent in extents)
