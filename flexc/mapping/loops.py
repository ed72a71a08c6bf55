"""The DRAM loops of a mapping: trip counts, the tiles they visit, and how often each operand is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from flexc.ir.mapping import Dim, Mapping
from flexc.mapping.problem import ContractionProblem

A_DIMS: frozenset[Dim] = frozenset(("g", "n", "p", "q", "k", "r", "s"))
"""Dimensions that index operand a."""
B_DIMS: frozenset[Dim] = frozenset(("g", "o", "k", "r", "s"))
"""Dimensions that index operand b."""


class DramLoop(NamedTuple):
    """One loop over the tiles of all cores together."""

    dim: Dim
    chip_tile: int
    """Extent of one iteration on all cores: the tile of a core times the cores that split the dimension."""
    trips: int


def dram_loops(problem: ContractionProblem, mapping: Mapping) -> list[DramLoop]:
    """The loops over chip tiles, outermost first, those of one trip included."""
    loops = []
    for dim in mapping.order:
        chip_tile = mapping.tile_of(dim) * mapping.core_factor(dim)
        loops.append(DramLoop(dim, chip_tile, -(-problem.extent(dim) // chip_tile)))
    return loops


def loads_of(loops: Sequence[DramLoop], dims: frozenset[Dim]) -> int:
    """How often a tile of an operand is read, the read above all inner loops that do not index it."""
    depth = max(
        (level + 1 for level, loop in enumerate(loops) if loop.dim in dims and loop.trips > 1), default=0
    )
    return prod(loop.trips for loop in loops[:depth])


def chip_tile_sizes(problem: ContractionProblem, mapping: Mapping, dim: Dim) -> Counter[int]:
    """Extents of ``dim`` in the tiles of all cores together and how many have each, the first tile first."""
    chip_tile = mapping.tile_of(dim) * mapping.core_factor(dim)
    return _sizes(problem.extent(dim), chip_tile, chip_tile)


def core_tile_sizes(problem: ContractionProblem, mapping: Mapping, dim: Dim) -> Counter[int]:
    """As :func:`chip_tile_sizes`, of the first core, which has the most to do in every tile."""
    tile = mapping.tile_of(dim)
    return _sizes(problem.extent(dim), tile * mapping.core_factor(dim), tile)


def combinations(sizes: Sequence[Counter[int]]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every choice of one size of each counter, and how many tiles it stands for."""
    for chosen in product(*(each.items() for each in sizes)):
        yield tuple(size for size, _ in chosen), prod(count for _, count in chosen)


def lanes_at_work(problem: ContractionProblem, mapping: Mapping) -> int:
    """Lanes of a unit that have something to do in the longest segment (the first tile, where not over k)."""
    longest = problem.longest_segment if mapping.lane.dim == "k" else mapping.tile_of(mapping.lane.dim)
    return min(mapping.lane.factor, longest)


def units_at_work(mapping: Mapping) -> int:
    """Units of a PE that have something to do in the first tile."""
    return min(mapping.unit.factor, mapping.tile_of(mapping.unit.dim))


def _sizes(extent: int, period: int, most: int) -> Counter[int]:
    full, rest = divmod(extent, period)
    found: Counter[int] = Counter()
    if full:
        found[most] = full
    if rest:
        found[min(rest, most)] += 1
    return found
