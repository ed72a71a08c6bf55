"""Cycles of the cores on a contraction: the closed form of a tile, summed over distinct tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from flexc.cost.tile_cycles import TileCycles, core_rates, tile_compute_cycles
from flexc.ir.mapping import Dim, Mapping
from flexc.mapping.loops import combinations, core_tile_sizes
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.segments import same_in_every_group, tile_segments
from flexc.target.machine import Target

Segments = Sequence[Sequence[int]]
_WITHOUT_G: tuple[Dim, ...] = ("n", "p", "q", "o", "r", "s")


def core_cycles(
    problem: ContractionProblem, mapping: Mapping, target: Target
) -> tuple[TileCycles, TileCycles]:
    """Cycles over all tiles, and over the first; a tile takes as long as its slowest core."""
    rates = core_rates(target, problem.a_bits, problem.b_bits)
    sizes = [core_tile_sizes(problem, mapping, dim) for dim in _WITHOUT_G]
    total, first = TileCycles(0, 0, 0, 0), None
    for segments_of_cores, g, tiles in _reductions(problem, mapping):
        for (n, p, q, o, r, s), count in combinations(sizes):
            slowest = max(
                (
                    tile_compute_cycles(
                        rates,
                        mapping.stream,
                        mapping.lane,
                        mapping.unit,
                        mapping.pes,
                        (g, n, p, q, o),
                        (r, s),
                        each,
                    )
                    for each in segments_of_cores
                ),
                key=lambda cycles: cycles.total,
            )
            total = total + slowest.times(tiles * count)
            first = first or slowest
    assert first is not None
    return total, first


def _reductions(problem: ContractionProblem, mapping: Mapping) -> Iterator[tuple[list[Segments], int, int]]:
    """Distinct tiles of g and k: each core's segments, groups of the first core, number of tiles."""
    k, k_tile = problem.extent("k"), mapping.tile_of("k")
    if same_in_every_group(problem):
        k_tiles = Counter(
            tile_segments(problem, 0, start, min(start + k_tile, k)) for start in range(0, k, k_tile)
        )
        for g, g_tiles in core_tile_sizes(problem, mapping, "g").items():
            for segments, tiles in k_tiles.items():
                yield [[segments]], g, g_tiles * tiles
        return
    groups, tile = problem.extent("g"), mapping.tile_of("g")
    chip_tile = tile * mapping.core_factor("g")
    for first in range(0, groups, chip_tile):
        starts = range(first, min(first + chip_tile, groups), tile)
        tiles_of_cores: list[Segments] = [
            [tile_segments(problem, g, 0, k) for g in range(start, min(start + tile, groups))]
            for start in starts
        ]
        yield tiles_of_cores, min(tile, groups - first), 1
