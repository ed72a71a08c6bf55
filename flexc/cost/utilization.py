"""How much of the multipliers a mapping uses, and which level loses the rest."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from flexc.cost.tile_cycles import TileCycles
from flexc.ir.mapping import OUTPUT_DIMS, Mapping
from flexc.mapping.loops import core_tile_sizes
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.segments import tile_segments
from flexc.target.machine import Target

Level: TypeAlias = Literal["lanes", "units", "PEs", "cores", "swaps", "psum", "fill", "fp32 adders"]


@dataclass(frozen=True)
class Utilization:
    """Fractions of multipliers at work; the product of the levels is ``spatial``."""

    spatial: float
    """Of all multipliers, in all cycles of the cores."""
    lanes: float
    units: float
    pes: float
    cores: float
    streaming: float
    """Cycles in which a line streams, of all cycles of the cores."""
    limit: Level
    """The level that loses most."""


def utilization_of(
    problem: ContractionProblem, mapping: Mapping, target: Target, cycles: TileCycles
) -> Utilization:
    """Utilization of the cores in ``cycles``, those of all tiles of ``problem`` under ``mapping``."""
    shape = target.pe_shape(problem.a_bits, problem.b_bits)
    depthwise = mapping.lane.dim != "k"
    lanes = mapping.lane.factor / shape.lanes if depthwise else _lane_fill(problem, mapping, shape.lanes)
    units = mapping.unit.factor / shape.units
    if not depthwise:
        tiles = core_tile_sizes(problem, mapping, mapping.unit.dim)
        used = sum(size * count for size, count in tiles.items())
        made = sum(
            -(-size // mapping.unit.factor) * mapping.unit.factor * count for size, count in tiles.items()
        )
        units *= used / made
    split = prod(factor.factor for factor in mapping.cores)
    first_core = prod(
        sum(size * count for size, count in core_tile_sizes(problem, mapping, dim).items())
        for dim in OUTPUT_DIMS
    )
    cores = problem.outputs / (first_core * split) * split / target.cores
    streaming = cycles.streamed_lines / cycles.total
    spatial = problem.macs * shape.multipliers_per_mac / (cycles.total * target.multipliers)
    pes = spatial / (lanes * units * cores * streaming)
    losses: list[tuple[float, Level]] = [
        (lanes, "fp32 adders" if depthwise else "lanes"),
        (units, "units"),
        (pes, "PEs"),
        (cores, "cores"),
        (1 - cycles.unhidden_swaps / cycles.total, "swaps"),
        (1 - cycles.psum_stalls / cycles.total, "psum"),
        (1 - cycles.fill / cycles.total, "fill"),
    ]
    limit = min(losses, key=lambda loss: loss[0])[1]
    return Utilization(spatial, lanes, units, pes, cores, streaming, limit)


def _lane_fill(problem: ContractionProblem, mapping: Mapping, lanes: int) -> float:
    """Elements over lanes in the lane steps of one unit, by the segments of the first conv group."""
    k, tile = problem.extent("k"), mapping.tile_of("k")
    segments = [
        length
        for start in range(0, k, tile)
        for length in tile_segments(problem, 0, start, min(start + tile, k))
    ]
    return k / sum(-(-length // lanes) * lanes for length in segments)
