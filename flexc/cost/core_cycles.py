"""Cycles of the cores on a contraction: the closed form of a tile, summed over distinct tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flexc.cost.tile_cycles import TileCycles, core_rates, tile_compute_cycles
from flexc.ir.mapping import Dim, Mapping
from flexc.mapping.loops import combinations, core_tile_sizes
from flexc.mapping.problem import ContractionProblem
from flexc.mapping.segments import same_in_every_group, tile_segments
from flexc.target.machine import Target

_WITHOUT_G: tuple[Dim, ...] = ("n", "p", "q", "o", "r", "s")


class _Reduction(NamedTuple):
    """What one core reduces in a tile: its conv groups, and the segments of each or of all of them."""

    groups: int
    segments: Sequence[Sequence[int]]


def core_cycles(
    problem: ContractionProblem, mapping: Mapping, target: Target
) -> tuple[TileCycles, TileCycles]:
    """Cycles over all tiles, and over the first; a tile takes as long as its slowest core."""
    rates = core_rates(target, problem.a_bits, problem.b_bits)
    sizes = [core_tile_sizes(problem, mapping, dim) for dim in _WITHOUT_G]
    total, first = TileCycles(0, 0, 0, 0), None
    for cores, tiles in _reductions(problem, mapping):
        for (n, p, q, o, r, s), count in combinations(sizes):
            of_cores = [
                tile_compute_cycles(
                    rates,
                    mapping.stream,
                    mapping.lane,
                    mapping.unit,
                    mapping.pes,
                    (core.groups, n, p, q, o),
                    (r, s),
                    core.segments,
                )
                for core in cores
            ]
            slowest = max(of_cores, key=lambda cycles: cycles.total)
            total = total + slowest.times(tiles * count)
            first = first or slowest
    assert first is not None
    return total, first


def _reductions(problem: ContractionProblem, mapping: Mapping) -> Iterator[tuple[list[_Reduction], int]]:
    """Distinct tiles of g and k: what each distinct core reduces, and the number of such tiles."""
    k, k_tile = problem.extent("k"), mapping.tile_of("k")
    if same_in_every_group(problem):
        k_tiles = Counter(
            tile_segments(problem, 0, start, min(start + k_tile, k)) for start in range(0, k, k_tile)
        )
        for g, g_tiles in core_tile_sizes(problem, mapping, "g").items():
            for segments, tiles in k_tiles.items():
                yield [_Reduction(g, [segments])], g_tiles * tiles
        return
    groups, tile = problem.extent("g"), mapping.tile_of("g")
    chip_tile = tile * mapping.core_factor("g")
    for first in range(0, groups, chip_tile):
        of_cores = [
            range(start, min(start + tile, groups))
            for start in range(first, min(first + chip_tile, groups), tile)
        ]
        yield [_Reduction(len(gs), [tile_segments(problem, g, 0, k) for g in gs]) for gs in of_cores], 1
